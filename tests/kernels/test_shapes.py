"""The all-reduce at every awkward count, in all kinds of memory, at 1 to 16 ranks."""

from __future__ import annotations

from pathlib import Path

import pytest

from nvrar_bench.toolchain.kernel import Kernel

WORKER = Path(__file__).parent / "worker_shapes.py"

# 11 and 13 nodes fold nodes into others; 16 is four steps of recursive doubling.
NODES = {
    1: (1,), 2: (1, 2), 3: (1, 3), 4: (1, 2, 4), 5: (1, 5), 6: (1, 2, 3, 6), 7: (1, 7),
    8: (1, 2, 4, 8), 11: (11,), 13: (13,), 16: (2, 8, 16),
}  # fmt: skip
KERNELS = [
    Kernel(dtype, "sum", protocol, "host")
    for dtype in ("float32", "float64", "bfloat16", "int8")
    for protocol in ("signal", "packet")
]


@pytest.mark.parametrize(
    ("ranks", "nodes"),
    [
        pytest.param(ranks, nodes, marks=[pytest.mark.slow] if ranks > 4 else [])
        for ranks, nodes in NODES.items()
    ],
)
def test_every_count_is_reduced_right(run_ranks, compile_all, ranks, nodes):
    compile_all(KERNELS)
    done = run_ranks(ranks, WORKER, *nodes, timeout=280)
    assert done.code == 0, done.stderr[-4000:]
    seen = done.record()
    assert seen["problems"] == []
    assert seen["nodes"] == list(nodes)
    assert seen["calls"] == seen["planned"] > 32 * len(nodes)


@pytest.mark.parametrize(
    ("exchange", "ranks", "nodes"),
    [("halving", 3, 3), ("halving", 4, 4), ("one-shot", 2, 1), ("one-shot", 4, 1)],
)
def test_other_exchanges_are_right(run_ranks, compile_all, exchange, ranks, nodes):
    compile_all(KERNELS)
    done = run_ranks(ranks, WORKER, f"--{exchange}", nodes, timeout=280)
    assert done.code == 0, done.stderr[-4000:]
    seen = done.record()
    assert seen["problems"] == []
    assert seen["calls"] == seen["planned"] > 32
