"""The device's own kernels, compiled by NVRTC: no GPU is needed for that."""

from __future__ import annotations

import pytest

from nvrar_bench.datatypes import DTYPES
from nvrar_bench.devices.cuda.device import build_cubin
from nvrar_bench.devices.cuda.elements import check_entry
from nvrar_bench.toolchain import cuda
from nvrar_bench.toolchain.kernel import CUDA_GATE, Elements


@pytest.fixture(autouse=True)
def _compiler():
    pytest.importorskip("cuda.bindings.nvrtc")


@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_100", "sm_120"])
@pytest.mark.parametrize(
    ("kernels", "entries"),
    [
        (CUDA_GATE, ["nvrar_hold", "nvrar_nothing"]),
        (
            Elements("float8_e5m2"),
            [f"nvrar_{what}_float8_e5m2" for what in ("inputs", "expected", "reference")]
            + [check_entry(DTYPES["float8_e5m2"].numpy, tolerant) for tolerant in (False, True)]
            + ["nvrar_spoil"],
        ),
    ],
    ids=["gate", "elements"],
)
def test_they_compile_and_have_every_entry_that_is_loaded(kernels, entries, arch):
    cubin = build_cubin(kernels, arch)
    assert cubin.startswith(b"\x7fELF")
    for entry in entries:
        assert b"\0" + entry.encode() + b"\0" in cubin
    assert cuda.build(kernels, arch).resource_usage().spill_loads == 0
