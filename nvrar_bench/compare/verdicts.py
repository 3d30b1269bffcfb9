"""The verdict on a point that two runs have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import numpy as np

from nvrar_bench.compare.bootstrap import Spread, own_interval, ratio, spread_of
from nvrar_bench.compare.document import Measured, Point, Verdict
from nvrar_bench.compare.points import Key
from nvrar_bench.compare.samples import figure, launches_of, unusable
from nvrar_bench.compare.states import Numbers, Yardsticks, common_launches
from nvrar_bench.results.record import Result

_RATIO_DIGITS = 6
_MICRO_DIGITS = 4
# Most launches of the same sweep on a virtual machine with other guests differ by less.
LAUNCH_SPREAD = 0.3


class Side:
    """Some launches of a result as one side of a comparison: 0 is the base, 1 is new.

    Every point draws the same random numbers, whatever other points there are.
    """

    def __init__(self, result: Result, numbers: Numbers, seed: int, side: int) -> None:
        launches = launches_of(result, numbers)
        self.problem = unusable(launches)
        self.has_one_launch = len(launches) == 1
        self.wrong = result.check.status == "failed"
        self.spread: Spread | None = None
        if self.problem is None:
            self.spread = spread_of(launches, np.random.default_rng([seed, side]))
        median = round(figure(launches), _MICRO_DIGITS) if launches else None
        low = high = None
        if self.spread is not None:
            found = own_interval(self.spread)
            low, high = round(found.low, _MICRO_DIGITS), round(found.high, _MICRO_DIGITS)
        left_out = len(result.launch_samples) - len(numbers)
        self.measured = Measured(median, low, high, sum(map(len, launches)), len(numbers), left_out)


class Candidate:
    """A result, and what has been made of its launches: a base is compared with several runs."""

    def __init__(self, result: Result, seed: int, side: int) -> None:
        self.result = result
        self.side = cache(partial(Side, result, seed=seed, side=side))

    def yardsticks(self, any_state: bool) -> Yardsticks:
        """Return that of each launch; with `any_state` none is known."""
        known = self.result.yardstick_of_launches
        return (None,) * len(known) if any_state else known


@dataclass(frozen=True, eq=False)
class Pair:
    """A point's two results, and what is compared of them.

    `yardsticks_us` are the medians over the launches of each side, None where unknown; `apart` says
    that no launch of one side was in a state of the machine that the other side had too.
    """

    base: Side
    new: Side
    yardsticks_us: tuple[float | None, float | None]
    apart: bool

    @classmethod
    def of(cls, base: Candidate, new: Candidate, any_state: bool = False) -> Pair:
        """Choose the launches of one state; all with `any_state`."""
        of_base, of_new = base.yardsticks(any_state), new.yardsticks(any_state)
        chosen = common_launches(of_base, of_new)
        return cls(
            base.side(chosen.base),
            new.side(chosen.new),
            (_median(of_base), _median(of_new)),
            chosen.apart,
        )


def _median(yardsticks: Yardsticks) -> float | None:
    known = [us for us in yardsticks if us]
    return float(np.median(known)) if known else None


@dataclass(frozen=True)
class Terms:
    """How points are judged: parts, so that 0.05 is 5 %.

    `threshold` is how far the whole interval of new / base must lie from 1; `launch_spread` how
    much two launches of the same thing may differ, where a run has one launch and cannot tell. Only
    launches of one state of the machine are compared, unless `any_state`.
    """

    threshold: float = 0.05
    launch_spread: float = LAUNCH_SPREAD
    any_state: bool = False


def judge(key: Key, pair: Pair, terms: Terms) -> Point:
    """Compare two results at the point `key`."""
    base, new = pair.base, pair.new
    if base.wrong or new.wrong:
        return Point(key, base.measured, new.measured, None, None, None, "wrong")
    if base.spread is None or new.spread is None:
        return Point(key, base.measured, new.measured, None, None, None, "undecided")
    found = ratio(base.spread, new.spread)
    unknown = 1 + terms.launch_spread if base.has_one_launch or new.has_one_launch else 1.0
    low, high = (
        round(found.low / unknown, _RATIO_DIGITS),
        round(found.high * unknown, _RATIO_DIGITS),
    )
    value = round(found.value, _RATIO_DIGITS)
    said = "undecided" if pair.apart else verdict(low, high, terms.threshold)
    return Point(key, base.measured, new.measured, value, low, high, said)


def verdict(low: float, high: float, threshold: float) -> Verdict:
    """Say where the interval [low, high] of new / base lies; `threshold` is a part, from 0 on."""
    for said, holds in _RULES:
        if holds(low, high, 1 + threshold):
            return said
    return "undecided"


_RULES: tuple[tuple[Verdict, Callable[[float, float, float], bool]], ...] = (
    ("slower", lambda low, _, limit: low > limit),
    ("faster", lambda _, high, limit: high < 1 / limit),
    ("same", lambda low, high, limit: 1 / limit <= low and high <= limit),
)
