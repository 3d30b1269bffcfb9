"""The verdict on a point that two runs have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nvrar_bench.compare.bootstrap import Spread, own_interval, ratio, spread_of
from nvrar_bench.compare.document import Measured, Point, Verdict
from nvrar_bench.compare.points import Key
from nvrar_bench.compare.samples import figure, launches_of, unusable
from nvrar_bench.results.record import Result

_RATIO_DIGITS = 6
_MICRO_DIGITS = 4
# The yardstick's own steps and noise stay below this; the states of a machine lie further apart.
OTHER_STATE = 1.5
# Most launches of the same sweep on a virtual machine with other guests differ by less.
LAUNCH_SPREAD = 0.3


class Side:
    """A result as one side of a comparison: 0 is the base, 1 is new.

    Every point draws the same random numbers, whatever other points there are.
    """

    def __init__(self, result: Result, seed: int, side: int) -> None:
        launches = launches_of(result)
        self.problem = unusable(launches)
        self.has_one_launch = len(launches) == 1
        self.wrong = result.check.status == "failed"
        known = [us for us in result.yardstick_us if us]
        self.yardstick_us = float(np.median(known)) if known else None
        self.spread: Spread | None = None
        if self.problem is None:
            self.spread = spread_of(launches, np.random.default_rng([seed, side]))
        self.measured = self._measured(result, figure(launches) if launches else None)

    def _measured(self, result: Result, median: float | None) -> Measured:
        kept = result.samples - len(set(result.late))
        shown = None if median is None else round(median, _MICRO_DIGITS)
        low = high = None
        if self.spread is not None:
            found = own_interval(self.spread)
            low, high = round(found.low, _MICRO_DIGITS), round(found.high, _MICRO_DIGITS)
        return Measured(shown, low, high, kept, len(result.launch_samples))


def in_other_states(base: Side, new: Side) -> bool:
    """Whether a flag took so much longer in one run that it was another machine.

    What no backend has a part in cannot be a backend's doing.
    """
    if base.yardstick_us is None or new.yardstick_us is None:
        return False
    return max(base.yardstick_us, new.yardstick_us) > OTHER_STATE * min(
        base.yardstick_us, new.yardstick_us
    )


@dataclass(frozen=True)
class Terms:
    """How points are judged: parts, so that 0.05 is 5 %.

    `threshold` is how far the whole interval of new / base must lie from 1; `launch_spread` how
    much two launches of the same thing may differ, where a run has one launch and cannot tell. With
    the machine in two states nothing is decided, unless `any_state`.
    """

    threshold: float = 0.05
    launch_spread: float = LAUNCH_SPREAD
    any_state: bool = False


def judge(key: Key, base: Side, new: Side, terms: Terms) -> Point:
    """Compare two results at the point `key`."""
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
    said = verdict(low, high, terms.threshold)
    if not terms.any_state and in_other_states(base, new):
        said = "undecided"
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
