"""The verdict on a point that two runs have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nvrar_bench.compare.bootstrap import Spread, own_interval, ratio, spread_of
from nvrar_bench.compare.document import Measured, Point, Verdict
from nvrar_bench.compare.points import Key
from nvrar_bench.compare.samples import Samples, figure, launches_of, unusable
from nvrar_bench.measure.states import Masks, Stretches, common_state, everything
from nvrar_bench.results.figures import stretches_of
from nvrar_bench.results.record import Result

Readings = tuple[float, float, float]

_RATIO_DIGITS = 6
_MICRO_DIGITS = 4
# Most launches of the same sweep on a virtual machine with other guests differ by less.
LAUNCH_SPREAD = 0.3


class Side:
    """Some stretches of a result as one side of a comparison: 0 is the base, 1 is new.

    `launches` are the samples of each that has some in these, of `every` launch of the result.
    Every point draws the same random numbers, whatever other points there are.
    """

    def __init__(
        self, result: Result, launches: Sequence[Samples], every: int, seed: int, side: int
    ) -> None:
        self.problem = unusable(launches)
        self.has_one_launch = len(launches) == 1
        self.kept_launches = (len(launches), every)  # of how many
        self.wrong = result.check.status == "failed"
        self.spread: Spread | None = None
        if self.problem is None:
            self.spread = spread_of(launches, np.random.default_rng([seed, side]))
        median = round(figure(launches), _MICRO_DIGITS) if launches else None
        low = high = None
        if self.spread is not None:
            found = own_interval(self.spread)
            low, high = round(found.low, _MICRO_DIGITS), round(found.high, _MICRO_DIGITS)
        samples = sum(map(len, launches))
        left_out = len(result.samples_us) - len(result.late) - samples
        self.measured = Measured(median, low, high, samples, len(launches), left_out)


class Candidate:
    """A result, and what has been made of its stretches: a base is compared with several runs."""

    def __init__(self, result: Result, seed: int, side: int) -> None:
        self.stretches = stretches_of(result)
        self.readings = _medians(self.stretches)
        self._result, self._seed, self._side = result, seed, side
        self._sides: dict[bytes, Side] = {}

    def side(self, chosen: Sequence[Masks]) -> Side:
        """Return what the `chosen` stretches of each launch come to."""
        key = np.concatenate(chosen).tobytes()
        if key not in self._sides:
            launches = launches_of(self._result, self.stretches, chosen)
            self._sides[key] = Side(self._result, launches, len(chosen), self._seed, self._side)
        return self._sides[key]


@dataclass(frozen=True, eq=False)
class Pair:
    """A point's two results, and what is compared of them.

    `readings_us`, in the order of states.YARDSTICKS, are the medians over the stretches of each
    side, None where unknown; `apart` says that one side was never in a state of the machine that
    the other had too.
    """

    base: Side
    new: Side
    readings_us: tuple[Readings | None, Readings | None]
    apart: bool

    @classmethod
    def of(cls, base: Candidate, new: Candidate, any_state: bool = False) -> Pair:
        """Choose the stretches of one state; all with `any_state`."""
        found = common_state(base.stretches, new.stretches)
        chosen = everything(base.stretches, new.stretches) if any_state else found.chosen
        return cls(
            base.side(chosen[0]),
            new.side(chosen[1]),
            (base.readings, new.readings),
            found.apart and not any_state,
        )


def _medians(launches: Sequence[Stretches]) -> Readings | None:
    readings = [launch.readings_us for launch in launches]
    if not readings or np.isnan(np.concatenate(readings)).any():
        return None
    flag, copy, work = np.median(np.concatenate(readings), axis=0).tolist()
    return flag, copy, work


@dataclass(frozen=True)
class Terms:
    """How points are judged: parts, so that 0.05 is 5 %.

    `threshold` is how far the whole interval of new / base must lie from 1; `launch_spread` how
    much two launches of the same thing may differ, where a run has one launch and cannot tell. Only
    stretches of one state of the machine are compared, unless `any_state`.
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
