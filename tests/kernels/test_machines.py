"""Ranks that take this machine for several: what is between them goes through MPI."""

from __future__ import annotations

from pathlib import Path

import pytest

from nvrar_bench.toolchain.kernel import Kernel

HERE = Path(__file__).parent
KERNELS = [
    Kernel(dtype, "sum", protocol, "hosts")
    for dtype in ("float32", "float64", "bfloat16", "int8")
    for protocol in ("signal", "packet")
]


# One and two ranks on each; 3 nodes are one step of three; of 11 some are folded in.
@pytest.mark.parametrize(
    ("ranks", "machines"), [(2, 2), (6, 3), pytest.param(11, 11, marks=pytest.mark.slow)]
)
def test_every_count_is_reduced_right(run_ranks, compile_all, ranks, machines):
    compile_all(KERNELS)
    done = run_ranks(ranks, HERE / "worker_shapes.py", "--machines", machines, timeout=280)
    assert done.code == 0, done.stderr[-4000:]
    seen = done.record()
    assert seen["problems"] == []
    assert seen["nodes"] == [machines]
    assert seen["calls"] == seen["planned"] > 32
