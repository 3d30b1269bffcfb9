"""How many launches of each run would decide a point that is undecided."""

from __future__ import annotations

from dataclasses import dataclass
from math import log, sqrt

from nvrar_bench.statistics.bootstrap import Spread
from nvrar_bench.statistics.median import NORMAL_975, t_975

MOST = 1000  # launches that sweep makes
_NORMAL_80 = 0.8416  # 80 % point of the normal distribution


@dataclass(frozen=True)
class Runs:
    """What is known of the two runs at a point: spreads, launches, and the ratio of the medians.

    `launch_spread` is by what part two launches may differ, where a run has one and cannot tell.
    """

    spreads: tuple[Spread, Spread]
    launches: tuple[int, int]
    ratio: float
    launch_spread: float

    @property
    def variance(self) -> float:
        """Of the ratio's logarithm, from one launch of each run."""
        pairs = zip(self.spreads, self.launches, strict=True)
        return sum(self._of_launch(spread, count) for spread, count in pairs)

    def _of_launch(self, spread: Spread, count: int) -> float:
        """Return the variance of one launch's logarithm.

        Two launches differ by less than `launch_spread` in 95 of 100 cases; each has half of that
        variance.
        """
        between = (log(1 + self.launch_spread) / NORMAL_975) ** 2 / 2 if count == 1 else 0.0
        return count * spread.variance + between


def launches_needed(runs: Runs, threshold: float) -> int | None:
    """Return about how many launches of each run would decide; None if more than MOST.

    Student's interval narrows by the root of the number of launches, and so does what chance does
    to the ratio: with so many it crosses no border in 4 of 5 cases.
    """
    room, variance = _room(log(runs.ratio), log(1 + threshold)), runs.variance
    first = max(*runs.launches, 1) + 1
    enough = (n for n in range(first, MOST + 1) if _reach(variance, n) < room)
    return next(enough, None)


def _room(ratio: float, limit: float) -> float:
    """Return how far the ratio lies from the nearer border; all are logarithms."""
    return min(abs(ratio - limit), abs(ratio + limit))


def _reach(variance: float, launches: int) -> float:
    return (t_975(2 * launches - 2) + _NORMAL_80) * sqrt(variance / launches)
