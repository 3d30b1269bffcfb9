"""Known inputs: two sets, made once for all sizes."""

from __future__ import annotations

import numpy as np
import pytest

from nvrar_bench.devices.cpu import CpuDevice, HostVerifier
from nvrar_bench.run import buffers
from nvrar_bench.run.buffers import SETS, KnownInputs
from nvrar_bench.run.point_group import VERIFY_ORDER
from nvrar_bench.settings.plans import build_plan
from nvrar_bench.verify import KnownReduction

PLAN = build_plan(counts=(10, 500, 70), dtypes=("float32", "int8"), ops=("sum", "max"))


@pytest.fixture
def made(monkeypatch):
    """Every problem whose inputs were made, with the count."""
    seen = []

    class Watched(KnownReduction):
        def inputs(self, rank, count):
            seen.append((self.dtype, self.op, self.seed, count))
            return super().inputs(rank, count)

    monkeypatch.setattr(buffers, "KnownReduction", Watched)
    return seen


class OneOf:
    """A world of some ranks, of which this process is one, as far as inputs are concerned."""

    virtual_ranks = False

    def __init__(self, size: int, rank: int) -> None:
        self.size, self.seats = size, (rank,)


class Memory(CpuDevice):
    """Memory of one rank among several, none of which is there."""

    def __init__(self, size: int, rank: int) -> None:
        self.world = OneOf(size, rank)
        self.verifier = HostVerifier(self.world)


def test_inputs_and_results_are_those_of_the_problem():
    inputs = KnownInputs(PLAN, Memory(3, 2), seed=7, with_results=True)
    for case in PLAN:
        for number, call in enumerate(inputs.of(case)):
            problem = KnownReduction(case.dtype, case.op, 3, "exact", 7 * SETS + number)
            assert np.array_equal(call.inputs, problem.inputs(2, case.count))
            right = problem.expected(case.count).value
            assert [result.status for result in call.check(right).results] == ["passed"]
            wrong = right.copy()
            wrong[-1] += 1
            (result,) = call.check(wrong).results
            first = result.first_wrong
            assert (first["rank"], first["index"]) == (2, case.count - 1)


def test_each_type_and_op_is_made_once_as_long_as_its_longest_case(made):
    inputs = KnownInputs(PLAN, Memory(1, 0), seed=3, with_results=False)
    for case in PLAN:
        inputs.of(case)
    kinds = [(dtype, op) for dtype in ("float32", "int8") for op in ("sum", "max")]
    assert made == [(*kind, 6 + number, 500) for kind in kinds for number in range(SETS)]


def test_seeds_have_sets_of_their_own():
    case = PLAN.cases[1]
    sets = [
        call.inputs.tobytes()
        for seed in (0, 1, 2)
        for call in KnownInputs(PLAN, Memory(1, 0), seed, False).of(case)
    ]
    assert len(set(sets)) == 6


def test_virtual_ranks_have_a_row_each(alone):
    case = PLAN.cases[0]
    device = CpuDevice(alone.with_virtual_ranks(3), 1.0)
    call = KnownInputs(PLAN, device, 7, with_results=True).of(case)[1]
    problem = KnownReduction(case.dtype, case.op, 3, "exact", 7 * SETS + 1)
    assert np.array_equal(call.inputs, [problem.inputs(rank, case.count) for rank in range(3)])
    received = np.stack([problem.expected(case.count).value] * 3)
    received[1, 4] += 1
    results = call.check(received).results
    assert [result.wrong for result in results] == [0, 1, 0]
    assert results[1].first_wrong["rank"] == 1


def test_without_results_nothing_is_checked():
    call = KnownInputs(PLAN, Memory(2, 0), 0, with_results=False).of(PLAN.cases[0])[0]
    assert call.expected is None
    assert call.check(np.full(10, np.nan, np.float32)).results == []


def test_leftovers_of_two_calls_before_belong_to_the_other_set():
    assert set(VERIFY_ORDER) == set(range(SETS))
    assert all(a != b for a, b in zip(VERIFY_ORDER, VERIFY_ORDER[2:], strict=False))
