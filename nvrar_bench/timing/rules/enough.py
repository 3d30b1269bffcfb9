"""Neither `--iters` nor `--precision`: a number of calls, and more where these tell too little."""

from __future__ import annotations

from nvrar_bench.statistics.independence import effective_samples
from nvrar_bench.timing.rules.base import StoppingRule, Taken
from nvrar_bench.timing.rules.iterations import TURNS, Iterations

# So many independent samples make an interval that covers as often as it says: ci/coverage.py.
ENOUGH = 50
# A sweep is to stay quick: no more than so many times the calls, and no more seconds of turns.
MOST_TIMES, MOST_SECONDS = 5, 0.5


class Enough(StoppingRule):
    """`calls` calls; where they are worth less than ENOUGH independent ones, turns beyond that.

    Looks at how much samples are alike do not favour a small or a large median.
    """

    def __init__(self, calls: int) -> None:
        self._first, self._most = Iterations(calls), MOST_TIMES * calls
        self._turn = max(1, calls // TURNS)
        self._reason = "unfinished"

    def next_turn(self, taken: Taken) -> int:
        """Return the share of the next turn."""
        calls = self._first.next_turn(taken)
        if calls:
            return calls
        ended = self._ended_by(taken)
        if ended:
            self._reason = ended
            return 0
        return min(self._turn, self._most - taken.calls)

    def reason(self) -> str:
        """`iterations`, or what ended further turns: `max_samples` or `max_time`."""
        return self._reason

    def target(self) -> float | None:
        """None is asked for."""
        return None

    def _ended_by(self, taken: Taken) -> str | None:
        if len(taken.samples) and effective_samples(taken.samples) >= ENOUGH:
            return "iterations"
        if taken.calls >= self._most:
            return "max_samples"
        return "max_time" if taken.seconds >= MOST_SECONDS else None
