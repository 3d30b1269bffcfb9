"""`--precision P`: until the median is known well enough, within bounds."""

from __future__ import annotations

from nvrar_bench.statistics.independence import effective_samples
from nvrar_bench.statistics.median import Samples, summarize
from nvrar_bench.timing.rules.base import StoppingRule, Taken

_FIRST_TURN = 20
# Each look at the interval is a chance to stop on a lucky one. So looks become rarer: a turn takes
# a quarter of what there is, and two in a row must find the interval narrow enough.
_GROWTH = 4


class Precision(StoppingRule):
    """Until half of the median's 95 % interval, on the effective sample size, is `target` of it.

    Not before `least` samples, and not beyond `most` calls or `seconds` of turns.
    """

    def __init__(self, target: float, least: int, most: int, seconds: float) -> None:
        self._target, self._least, self._most, self._seconds = target, least, most, seconds
        self._reason = "unfinished"
        self._held = False  # at the look before

    def next_turn(self, taken: Taken) -> int:
        """Look at what there is, and take a quarter more, or what time is left for."""
        ended = self._ended_by(taken)
        if ended:
            self._reason = ended
            return 0
        turn = min(max(_FIRST_TURN, taken.calls // _GROWTH), self._most - taken.calls)
        return max(1, min(turn, self._calls_left(taken)))

    def reason(self) -> str:
        """`precision`, `max_samples` or `max_time`."""
        return self._reason

    def target(self) -> float | None:
        """Return what was asked for."""
        return self._target

    def _ended_by(self, taken: Taken) -> str | None:
        if len(taken.samples) >= self._least:
            reached = precision_of(taken.samples)
            held, self._held = self._held, reached is not None and reached <= self._target
            if held and self._held:
                return "precision"
        if taken.calls >= self._most:
            return "max_samples"
        return "max_time" if taken.seconds >= self._seconds and taken.calls else None

    def _calls_left(self, taken: Taken) -> int:
        if not taken.calls:
            return _FIRST_TURN
        return int((self._seconds - taken.seconds) * taken.calls / max(taken.seconds, 1e-9))


def precision_of(samples: Samples) -> float | None:
    """Return half of the median's 95 % interval, on the effective sample size, over the median.

    None where there are too few samples for an interval, or the median is 0.
    """
    found = summarize(samples, effective_samples(samples)) if len(samples) else None
    if found is None or found.ci95_low is None or found.ci95_high is None or not found.median:
        return None
    return (found.ci95_high - found.ci95_low) / 2 / found.median
