"""Every dtype under every op, within a node and between nodes."""

from __future__ import annotations

from pathlib import Path

import pytest

from nvrar_bench.datatypes import DTYPES, OPS, can_wrap
from nvrar_bench.toolchain.kernel import Kernel

WORKER = Path(__file__).parent / "worker_types.py"
ALL = [(dtype, op) for dtype in DTYPES for op in OPS]
# Both protocols share what differs between types; a diagonal sees each type and op with packets.
DIAGONAL = [
    (dtype, op) for i, dtype in enumerate(DTYPES) for j, op in enumerate(OPS) if (i + j) % 4 == 0
]


@pytest.mark.parametrize(
    ("protocol", "kinds"), [("signal", ALL), ("packet", DIAGONAL)], ids=["signal", "packet"]
)
def test_every_type_and_op_is_reduced_right(run_ranks, compile_all, protocol, kinds):
    compile_all([Kernel(dtype, op, protocol, "host") for dtype, op in kinds])
    pairs = [f"{dtype}:{op}" for dtype, op in kinds]
    done = run_ranks(4, WORKER, 2, protocol, *pairs, timeout=280)
    assert done.code == 0, done.stderr[-4000:]
    seen = done.record()
    assert seen["problems"] == []
    assert seen["calls"] == 24 * len(kinds) + 12 * sum(can_wrap(*kind) for kind in kinds)


def test_the_diagonal_meets_every_type_and_every_op():
    assert {dtype for dtype, _ in DIAGONAL} == set(DTYPES)
    assert {op for _, op in DIAGONAL} == set(OPS)
