"""Stopping rules: when a point has enough samples.

    Iterations    a number of calls
    Enough        a number of calls, and more where these are too few; the default
    PrecisionRule a width of the median's interval, within bounds

A new rule is a `StoppingRule`, and a branch of `Stopping.rule`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from nvrar_bench.statistics.independence import ENOUGH, Samples, effective_samples
from nvrar_bench.statistics.median import estimate

# Turns of every backend: long enough to settle in the caches again, short enough that the machine's
# drift meets all backends alike.
TURNS = 20
# A sweep is to stay quick: no more than so many times the calls, and no more seconds of turns.
MOST_TIMES, MOST_SECONDS = 5, 0.5
_FIRST_TURN = 20
# Each look at the interval is a chance to stop on a lucky one. So looks become rarer: a turn takes
# a quarter of what there is, and two in a row must find the interval narrow enough.
_GROWTH = 4


@dataclass(frozen=True, eq=False)
class Taken:
    """What one backend has done at one point so far, the same on all ranks."""

    samples: Samples  # those that count, in seconds, shape (n,)
    calls: int  # that were timed, those that a rank began late among them
    seconds: float  # that its turns took, all in all


class StoppingRule(ABC):
    """One per backend and point, for the length of its measurement."""

    reason: str = "unfinished"  # what ended it, as `stop_reason` of the record
    target: float | None = None  # the precision asked for: half-width of the interval / median

    @abstractmethod
    def next_turn(self, taken: Taken) -> int:
        """Return how many calls to time in the next turn; 0 is the end. `taken.calls` may be 0."""


@dataclass(frozen=True)
class Stopping:
    """What a run was asked for: `iters` calls, or, where `precision` is given, that."""

    iters: int = 200
    precision: float | None = None  # half of the median's 95 % interval as a part of the median
    min_samples: int = 100
    max_samples: int = 100_000
    max_time: float = 5.0  # seconds per backend and point
    is_default: bool = False  # nobody asked, and more calls may follow

    def rule(self, iters: int | None = None) -> StoppingRule:
        """Make the rule of one backend at one point; `iters` is the case file's."""
        if self.precision is None:
            if self.is_default and not iters:
                return Enough(self.iters)
            return Iterations(iters or self.iters)
        return PrecisionRule(self.precision, self.min_samples, self.max_samples, self.max_time)


class Iterations(StoppingRule):
    """`--iters N`: exactly `calls` calls, in at most TURNS turns as even as whole calls allow."""

    reason = "iterations"

    def __init__(self, calls: int) -> None:
        # Each turn ends where its share of all calls does: a remainder is spread over the turns.
        turns = min(calls, TURNS)
        self._ends = iter([calls * (i + 1) // turns for i in range(turns)])

    def next_turn(self, taken: Taken) -> int:
        return next(self._ends, taken.calls) - taken.calls


class Enough(StoppingRule):
    """`calls` calls; where they are worth less than ENOUGH independent ones, turns beyond that.

    Looks at how much samples are alike do not favour a small or a large median.
    """

    def __init__(self, calls: int) -> None:
        self._first, self._most = Iterations(calls), MOST_TIMES * calls
        self._turn = max(1, calls // TURNS)

    def next_turn(self, taken: Taken) -> int:
        calls = self._first.next_turn(taken)
        if calls:
            return calls
        ended = self._ended_by(taken)
        if ended:
            self.reason = ended
            return 0
        return min(self._turn, self._most - taken.calls)

    def _ended_by(self, taken: Taken) -> str | None:
        if len(taken.samples) and effective_samples(taken.samples) >= ENOUGH:
            return "iterations"
        if taken.calls >= self._most:
            return "max_samples"
        return "max_time" if taken.seconds >= MOST_SECONDS else None


class PrecisionRule(StoppingRule):
    """Until half of the median's 95 % interval, on the effective sample size, is `target` of it.

    Not before `least` samples, and not beyond `most` calls or `seconds` of turns.
    """

    def __init__(self, target: float, least: int, most: int, seconds: float) -> None:
        self._target, self._least, self._most, self._seconds = target, least, most, seconds
        self.target = target
        self._held = False  # at the look before

    def next_turn(self, taken: Taken) -> int:
        """Look at what there is, and take a quarter more, or what time is left for."""
        ended = self._ended_by(taken)
        if ended:
            self.reason = ended
            return 0
        # One call at least, since a turn of none would be the end.
        turn = min(max(_FIRST_TURN, taken.calls // _GROWTH), self._most - taken.calls)
        if taken.calls:
            left = (self._seconds - taken.seconds) / max(taken.seconds, 1e-9)
            turn = min(turn, int(left * taken.calls))
        return max(1, turn)

    def _ended_by(self, taken: Taken) -> str | None:
        if len(taken.samples) >= self._least:
            reached = precision_of(taken.samples)
            held, self._held = self._held, reached is not None and reached <= self._target
            if held and self._held:
                return "precision"
        if taken.calls >= self._most:
            return "max_samples"
        return "max_time" if taken.seconds >= self._seconds and taken.calls else None


def precision_of(samples: Samples) -> float | None:
    """Return half of the median's 95 % interval, on the effective sample size, over the median.

    None where there are too few samples for an interval, or the median is 0.
    """
    return estimate(samples).half_width if len(samples) else None
