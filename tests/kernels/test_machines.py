"""Ranks that take this machine for several: what is between them goes through MPI."""

from __future__ import annotations

from pathlib import Path

import pytest

from nvrar_bench.backends.nvrar.layout import plan_steps
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


@pytest.mark.parametrize(
    ("ranks", "machines"), [(4, 4), (6, 3), pytest.param(11, 11, marks=pytest.mark.slow)]
)
def test_parts_are_reduced_right(run_ranks, compile_all, ranks, machines):
    compile_all(KERNELS)
    worker = HERE / "worker_shapes.py"
    done = run_ranks(ranks, worker, "--halving", "--machines", machines, timeout=280)
    assert done.code == 0, done.stderr[-4000:]
    seen = done.record()
    assert seen["problems"] == []
    assert seen["calls"] == seen["planned"] > 32


@pytest.mark.parametrize("ranks", [3, 4])
def test_as_many_bytes_travel_as_the_protocol_says(run_ranks, ranks):
    """Slices of which a part, a chunk and a window are none of the others' multiples."""
    counts = (25_003, 300_007)
    done = run_ranks(ranks, HERE / "worker_bytes.py", *counts)
    assert done.code == 0, done.stderr[-4000:]
    seen = done.record()
    assert seen["problems"] == []
    slices = {"doubling": plan_steps(ranks).slots, "halving": 2 * (ranks - 1) / ranks}
    assert len(seen["sent"]) == len(counts) * 4
    for count, protocol, exchange, of_ranks in seen["sent"]:
        expected = 4 * count * slices[exchange] * (2 if protocol == "packet" else 1)
        for nbytes, _ in of_ranks:
            assert nbytes == pytest.approx(expected, rel=0.05)
