"""Inputs whose result is known, computed once and used for every size and backend of a sweep."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from nvrar_bench.backends.base import Array
from nvrar_bench.plan import Case
from nvrar_bench.verify import CheckResult, Expected, Problem, check

# Two sets, used in an order (session/case.py) in which whatever a call may wrongly find left over
# from an earlier one belongs to the other set.
SETS = 2


@dataclass(frozen=True, eq=False)
class KnownCall:
    """This rank's inputs of one call, and everybody's result unless nothing is to be checked."""

    inputs: Array
    expected: Expected | None
    rank: int

    def check(self, received: Array) -> CheckResult | None:
        """Compare `received`, shape (count,); None if nothing is to be checked."""
        if self.expected is None:
            return None
        return check(received, self.expected, len(received), self.rank)


class KnownInputs:
    """Both sets for the dtype, op and mode at hand, as long as the longest message.

    A shorter message uses a prefix.
    """

    def __init__(
        self, cases: Iterable[Case], ranks: int, rank: int, seed: int, with_results: bool
    ) -> None:
        self._ranks, self._rank, self._seed = ranks, rank, seed
        self._with_results = with_results
        self._counts: dict[tuple[str, str, str], int] = {}
        for case in cases:
            key = _key(case)
            self._counts[key] = max(case.count, self._counts.get(key, 0))
        self._at: tuple[str, str, str] | None = None
        self._sets: list[KnownCall] = []

    def of(self, case: Case) -> list[KnownCall]:
        """Both sets, cut to the case's count."""
        if self._at != _key(case):
            self._sets.clear()  # before the next ones are made: memory is bounded
            self._sets = [self._make(case, number) for number in range(SETS)]
            self._at = _key(case)
        return [KnownCall(s.inputs[: case.count], s.expected, s.rank) for s in self._sets]

    def _make(self, case: Case, number: int) -> KnownCall:
        count = self._counts[_key(case)]
        problem = Problem(
            case.dtype, case.op, self._ranks, case.check_mode, self._seed * SETS + number
        )
        expected = problem.expected(count) if self._with_results else None
        return KnownCall(problem.inputs(self._rank, count), expected, self._rank)


def _key(case: Case) -> tuple[str, str, str]:
    return case.dtype, case.op, case.check_mode
