"""The device on the bindings that are installed, and a driver that checks what they pass on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from stub import build

from nvrar_bench.datatypes import DTYPES
from nvrar_bench.toolchain import host
from nvrar_bench.toolchain.kernel import CUDA_GATE, Elements

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def stub(tmp_path_factory, kernel_cache):
    """The folder of a libcuda.so.1 that needs no GPU."""
    pytest.importorskip("cuda.bindings.driver")
    host.build_all([CUDA_GATE, *map(Elements, DTYPES)])  # side by side: the worker takes them all
    return build(tmp_path_factory.mktemp("stub"))


@pytest.fixture
def report(stub):
    """`report(ranks, graph)`: what a device on the stub found."""

    def run(ranks, graph):
        done = subprocess.run(
            [sys.executable, str(HERE / "worker_bindings.py"), str(ranks), str(graph)],
            env={**os.environ, "LD_LIBRARY_PATH": str(stub), "STUB_GPU": "of_memory=1"},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.mark.parametrize(("ranks", "graph"), [(1, 1), (3, 1), (1, 5)])
def test_every_call_reaches_the_driver_as_it_is_meant(report, ranks, graph):
    found = report(ranks, graph)
    assert found["missing"] is None
    assert found["wrong"] == []
    assert found["samples"] == [10_000 + 500 // graph] * 3
    read = -(-5000 * ranks // 256) * 256
    assert found["step"] == [4 * read, [6 * 5000 + 500]]
    facts = found["facts"]
    assert (facts["gpu"], facts["gpu_arch"], facts["gpu_sms"]) == ("Stub GPU", "sm_90", 132)
    assert facts["gpu_uuid"] == "GPU-a0a0a0a0-a0a0-a0a0-a0a0-a0a0a0a0a0a0"
    captured, far = found["user"]
    assert "its calls cannot be captured" in captured
    assert far == "send lies in GPU 1; allowed with this open: GPU 0"
    blocks, memory, image = found["refusals"]
    assert "265 blocks of 1024 threads wait for each other, and Stub GPU runs 264" in blocks
    assert "no room for" in memory
    assert f" of {1 << 36} are free" in memory
    assert image == "cuLibraryLoadData failed: CUDA_ERROR_INVALID_IMAGE (stub)"
