"""`nvrar-bench compile`, as its user starts it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from output import one_error

from nvrar_bench import __main__ as command
from nvrar_bench.toolchain import cuda, wheels
from nvrar_bench.toolchain.kernel import kernels_dir

ONE = ("compile", "--arch", "sm_90", "--fabric", "loopback", "--protocol", "signal")
ONE += ("--dtype", "float32", "--op", "sum", "--threads", "256", "--ranks-per-node", "any")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which all tests of this file share a cache of kernels."""
    return {"NVRAR_BENCH_CACHE": str(tmp_path_factory.mktemp("kernels"))}


def test_a_table_and_a_file(run_command: Callable[..., Any], cache, tmp_path: Path):
    path = tmp_path / "compile.json"
    done = run_command(*ONE, "--json", str(path), environment=cache)
    assert done.code == 0, done.stderr
    assert re.search(r"^  sm_90  float32-sum-signal-loopback-256 +\d+ +0 +0 ", done.stdout, re.M)
    gate, elements, kernel = json.loads(path.read_text())["kernels"]
    assert (kernel["arch"], kernel["spill_store_bytes"]) == ("sm_90", 0)
    assert (kernel["launch_class"], elements["launch_class"]) == (256, None)
    assert kernel["registers"] > 16
    assert re.search(r"^  sm_90 +elements-float32 +\d+ +0 +0 ", done.stdout, re.M)
    assert (elements["name"], elements["dtype"], elements["fabric"]) == (
        "elements-float32", "float32", None,
    )  # fmt: skip
    assert (gate["name"], gate["dtype"], gate["op"]) == ("cuda-gate", None, None)


def test_json_alone_on_standard_output(run_command: Callable[..., Any], cache):
    run_command(*ONE, environment=cache)
    done = run_command(*ONE, "--json", "-", environment=cache)
    document = json.loads(done.stdout)
    assert document["format"] == "nvrar-bench.compile"
    assert [kernel["cached"] for kernel in document["kernels"]] == [True] * 3
    assert set(document["compiler"]) >= {"nvrtc", "nvidia-cuda-nvrtc", "nvidia-cuda-cccl"}


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("--arch", "sm_13", "sm_90"),
        ("--arch", "sm_90,", "sm_80"),
        ("--fabric", "host", "nvshmem"),
        ("--protocol", "auto", "packet"),
        ("--dtype", "float31", "bfloat16"),
        ("--op", "mean", "avg"),
        ("--threads", "1024", "512"),
        ("--ranks-per-node", "3", "8"),
        ("--json", "/no/such/folder/x", "existing folder"),
    ],
)
def test_a_mistake_gives_one_message(option, value, allowed, run_command: Callable[..., Any]):
    done = run_command("compile", option, value)
    message = one_error(done.stderr)
    assert (done.code, done.stdout) == (2, "")
    assert message.startswith(option)
    assert value.split(",")[-1] in message
    assert allowed in message


def test_a_refused_kernel(run_command: Callable[..., Any], cache, tmp_path: Path):
    kernels = tmp_path / "kernels"
    shutil.copytree(kernels_dir(), kernels)
    (kernels / "fabric" / "loopback.cuh").write_text("#error not today\n")
    environment = {**cache, "NVRAR_BENCH_KERNELS": str(kernels)}
    done = run_command(*ONE, environment=environment)
    assert (done.code, done.stdout) == (5, "")
    assert "the compiler refused kernel float32-sum-signal-loopback-256 for sm_90:" in done.stderr
    assert "not today" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("missing", ["cuda-bindings", "nvidia-cuda-nvrtc", "nvidia-nvshmem-cu13"])
def test_without_a_wheel(missing, monkeypatch, capsys):
    there = wheels.installed
    monkeypatch.setattr(wheels, "installed", lambda name: None if name == missing else there(name))
    for remembered in (cuda._wheels, cuda._nvshmem):
        monkeypatch.setattr(cuda, remembered.__name__, remembered.__wrapped__)
    monkeypatch.setattr(sys, "argv", ["nvrar-bench", "compile", "--arch", "sm_90"])
    assert command._run() == 5
    printed = capsys.readouterr()
    assert printed.out == ""
    assert one_error(printed.err).endswith(": pip install 'nvrar-bench[cuda13]'")


_LOADED = """
import sys
from nvrar_bench.__main__ import _run
code = _run()
print(code, [name for name in sys.modules if name.split(".")[0] == "mpi4py"], file=sys.stderr)
"""


def test_mpi_is_not_loaded(cache):
    """Nor a driver: there is none where this runs."""
    environment = {**os.environ, **cache}
    line = [sys.executable, "-c", _LOADED, *ONE]
    done = subprocess.run(line, capture_output=True, text=True, env=environment)
    assert done.stderr.splitlines()[-1] == "0 []"  # before it may stand what is being compiled
