"""`--iters N`: as many calls as were asked for, whatever they show."""

from __future__ import annotations

from nvrar_bench.timing.rules.base import StoppingRule, Taken

# Turns of every backend: long enough to settle in the caches again, short enough that the machine's
# drift meets all backends alike.
TURNS = 20


class Iterations(StoppingRule):
    """Exactly `calls` calls, in at most TURNS turns that are as even as whole calls allow."""

    def __init__(self, calls: int) -> None:
        self._calls = calls
        turns = min(calls, TURNS)
        self._ends = iter([calls * (i + 1) // turns for i in range(turns)])

    def next_turn(self, taken: Taken) -> int:
        """Return the share of the next turn."""
        return next(self._ends, taken.calls) - taken.calls

    def reason(self) -> str:
        """Nothing else ends it."""
        return "iterations"

    def target(self) -> float | None:
        """None is asked for."""
        return None
