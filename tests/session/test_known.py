"""Known inputs: two sets, made once for all sizes."""

from __future__ import annotations

import numpy as np
import pytest

from nvrar_bench.plan import Plan
from nvrar_bench.session import known
from nvrar_bench.session.case import VERIFY_ORDER
from nvrar_bench.session.known import SETS, KnownInputs
from nvrar_bench.verify import Problem

PLAN = Plan.build(counts=(10, 500, 70), dtypes=("float32", "int8"), ops=("sum", "max"))


@pytest.fixture
def made(monkeypatch):
    """Every problem whose inputs were made, with the count."""
    seen = []

    class Watched(Problem):
        def inputs(self, rank, count):
            seen.append((self.dtype, self.op, self.seed, count))
            return super().inputs(rank, count)

    monkeypatch.setattr(known, "Problem", Watched)
    return seen


def test_inputs_and_results_are_those_of_the_problem():
    inputs = KnownInputs(PLAN, ranks=3, rank=2, seed=7, with_results=True)
    for case in PLAN:
        for number, call in enumerate(inputs.of(case)):
            problem = Problem(case.dtype, case.op, 3, "exact", 7 * SETS + number)
            assert np.array_equal(call.inputs, problem.inputs(2, case.count))
            right = problem.expected(case.count).value
            assert call.check(right).status == "passed"
            wrong = right.copy()
            wrong[-1] += 1
            first = call.check(wrong).first_wrong
            assert (first["rank"], first["index"]) == (2, case.count - 1)


def test_each_type_and_op_is_made_once_as_long_as_its_longest_case(made):
    inputs = KnownInputs(PLAN, ranks=1, rank=0, seed=3, with_results=False)
    for case in PLAN:
        inputs.of(case)
    kinds = [(dtype, op) for dtype in ("float32", "int8") for op in ("sum", "max")]
    assert made == [(*kind, 6 + number, 500) for kind in kinds for number in range(SETS)]


def test_seeds_have_sets_of_their_own():
    case = PLAN.cases[1]
    sets = [
        call.inputs.tobytes()
        for seed in (0, 1, 2)
        for call in KnownInputs(PLAN, 1, 0, seed, False).of(case)
    ]
    assert len(set(sets)) == 6


def test_without_results_nothing_is_checked():
    call = KnownInputs(PLAN, 2, 0, 0, with_results=False).of(PLAN.cases[0])[0]
    assert call.expected is None
    assert call.check(np.full(10, np.nan, np.float32)) is None


def test_leftovers_of_two_calls_before_belong_to_the_other_set():
    assert set(VERIFY_ORDER) == set(range(SETS))
    assert all(a != b for a, b in zip(VERIFY_ORDER, VERIFY_ORDER[2:], strict=False))
