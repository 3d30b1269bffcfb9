"""The device's own kernels, compiled by NVRTC: no GPU is needed for that."""

from __future__ import annotations

import pytest

from nvrar_bench.datatypes import DTYPES
from nvrar_bench.devices.cuda.device import build_cubin
from nvrar_bench.devices.cuda.hold import GateKernels
from nvrar_bench.devices.cuda.problems import ProblemKernels
from nvrar_bench.devices.cuda.verify import VerificationKernels, check_entry
from nvrar_bench.toolchain import cuda


@pytest.fixture(autouse=True)
def _compiler():
    pytest.importorskip("cuda.bindings.nvrtc")


@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_100", "sm_120"])
@pytest.mark.parametrize(
    ("kernels", "entries"),
    [
        (GateKernels(), ["nvrar_hold", "nvrar_nothing"]),
        (
            VerificationKernels(),
            ["nvrar_fill"]
            + [check_entry(row.numpy, tolerant) for row in DTYPES.values() for tolerant in (0, 1)],
        ),
        (
            ProblemKernels("float8_e5m2"),
            [f"nvrar_{what}_float8_e5m2" for what in ("inputs", "expected", "reference")],
        ),
    ],
    ids=["gate", "verification", "problem"],
)
def test_they_compile_and_have_every_entry_that_is_loaded(kernels, entries, arch):
    cubin = build_cubin(kernels, arch)
    assert cubin.startswith(b"\x7fELF")
    for entry in entries:
        assert b"\0" + entry.encode() + b"\0" in cubin
    assert cuda.build(kernels, arch).resource_usage(entries[0]).spill_loads == 0
