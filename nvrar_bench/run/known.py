"""Inputs whose result is known, computed once and used for every size and backend of a sweep."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nvrar_bench.devices.base import Array, Device
from nvrar_bench.plan import Case
from nvrar_bench.verify import Expected, Findings, Problem

# Two sets, used in an order (run/block.py) in which whatever a call may wrongly find left over
# from an earlier one belongs to the other set.
SETS = 2


@dataclass(frozen=True, eq=False)
class KnownCall:
    """The inputs of one call, and everybody's result unless nothing is to be checked.

    Both lie in the device's memory; inputs have shape (count,), or (seats, count).
    """

    inputs: Array
    expected: Expected | None
    device: Device

    def check(self, received: Array, around: Sequence[Array] = ()) -> Findings:
        """Compare what each seat received, and look around it, unless nothing is to be checked."""
        if self.expected is None:
            return Findings([])
        return self.device.check(received, self.expected, around)


class KnownInputs:
    """Both sets for the dtype, op and mode at hand, as long as the longest message.

    A shorter message uses a prefix.
    """

    def __init__(
        self, cases: Iterable[Case], device: Device, seed: int, with_results: bool
    ) -> None:
        self._device, self._world, self._seed = device, device.world, seed
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
        return [
            KnownCall(self._device.prefix(s.inputs, case.count), s.expected, self._device)
            for s in self._sets
        ]

    def _make(self, case: Case, number: int) -> KnownCall:
        count = self._counts[_key(case)]
        problem = Problem(
            case.dtype, case.op, self._world.size, case.check_mode, self._seed * SETS + number
        )
        expected = self._device.expected(problem, count) if self._with_results else None
        return KnownCall(self._device.inputs(problem, count), expected, self._device)


def _key(case: Case) -> tuple[str, str, str]:
    return case.dtype, case.op, case.check_mode
