"""The two results at a point that are compared, which of their samples, and the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log, sqrt

import numpy as np
from msgspec.structs import asdict

from nvrar_bench.documents.comparison import ComparedPoint, PointKey, RunMedian, Verdict
from nvrar_bench.documents.result import Result
from nvrar_bench.statistics import machine_states as states
from nvrar_bench.statistics.bootstrap import Spread, own_interval, ratio_interval, spread_of
from nvrar_bench.statistics.independence import Floats
from nvrar_bench.statistics.machine_states import Masks, Readings
from nvrar_bench.statistics.median import NORMAL_975, t_975
from nvrar_bench.statistics.points import Counted, micros

# A launch alone says nothing of its median's interval below this: even its extremes are too close.
FEWEST = 6
# The record's resolution. A call that took less was not timed.
SHORTEST_US = 1e-3
_RAW = ("samples_us", "launch_samples", "late", "stretches")
_RATIO_DIGITS = 6
# Most launches of the same sweep on a virtual machine with other guests differ by less.
LAUNCH_SPREAD = 0.3
MOST = 1000  # launches that sweep makes
_NORMAL_80 = 0.8416  # 80 % point of the normal distribution


class Side:
    """Some samples of a result as one side of a comparison: 0 is the base, 1 is new.

    Every point draws the same random numbers, whatever other points there are.
    """

    def __init__(self, result: Result, some: Counted, seed: int, side: int) -> None:
        launches = [part for part in some.parts if len(part)]
        self.problem = unusable(launches)
        if launches and len(set(result.late)) == len(some.us):
            self.problem = "no samples but late ones"
        self.has_one_launch = len(launches) == 1
        self.kept_launches = (len(launches), len(result.launch_samples))  # of how many
        self.wrong = result.check.status == "failed"
        # Without one there is no interval, and no verdict but `undecided`.
        self.spread: Spread | None = None
        low = high = None
        if self.problem is None:
            self.spread = spread_of(launches, np.random.default_rng([seed, side]))
            low, high = map(micros, own_interval(self.spread))
        samples = int(some.mask.sum())
        self.measured = RunMedian(some.figure, low, high, samples, len(launches), some.left_out)


class Candidate:
    """A result, and what has been made of its samples: a base is compared with several runs.

    Its own samples are those that the median in the table of its run is of.
    """

    def __init__(self, result: Result, seed: int, side: int, one_state: bool = False) -> None:
        self.own = Counted.of_result(result, one_state)
        self.result, self._seed, self._side = result, seed, side
        # Resampling takes nearly all the time of a comparison, and a base is in several.
        self._sides: dict[bytes, Side] = {}

    def side(self, some: Counted) -> Side:
        """Return what some of the samples come to."""
        key = some.mask.tobytes()
        if key not in self._sides:
            self._sides[key] = Side(self.result, some, self._seed, self._side)
        return self._sides[key]

    def in_state(self, chosen: Masks) -> Counted:
        """Count the samples that are `chosen`, shape (n,), if one of them is in time."""
        found = replace(self.own, chosen=chosen)
        return found if found.mask.any() else self.own


@dataclass(frozen=True, eq=False)
class Pair:
    """A point's two results, and what is compared of them."""

    base: Side
    new: Side
    readings_us: tuple[Readings | None, Readings | None]  # medians over all stretches of each side
    apart: bool  # each was in states of the machine for long, but in none that the other had too
    is_itself: bool  # both are one measurement

    @classmethod
    def of(
        cls, base: Candidate, new: Candidate, *, one_state: bool = False, same_run: bool = False
    ) -> Pair:
        """Choose each side's own samples; with `one_state` those of a state that both were in."""
        some, apart = (base.own, new.own), False
        if one_state:
            chosen, apart = states.chosen_of_both(base.own.launches, new.own.launches)
            some = base.in_state(chosen[0]), new.in_state(chosen[1])
        sides = base.side(some[0]), new.side(some[1])
        readings = states.reading_of(base.own.launches), states.reading_of(new.own.launches)
        is_itself = same_run and all(
            getattr(base.result, key) == getattr(new.result, key) for key in _RAW
        )
        return cls(*sides, readings, apart, is_itself)


def unusable(launches: Sequence[Floats]) -> str | None:
    """Say why there is no figure of `launches`, or none with an interval; None where there is."""
    if not launches:
        return "no samples"
    if min(float(samples.min()) for samples in launches) < SHORTEST_US:
        return "samples shorter than 1 ns"
    if len(launches) == 1 and len(launches[0]) < FEWEST:
        return f"fewer than {FEWEST} samples"
    return None


@dataclass(frozen=True)
class Terms:
    """How points are judged: parts, so that 0.05 is 5 %."""

    threshold: float = 0.05  # how far the whole interval of new / base must lie from 1
    launch_spread: float = LAUNCH_SPREAD  # of two launches of the same, where a run has only one
    one_state: bool = False  # compare only samples of a state of the machine that both runs met


_Ratio = tuple[float | None, float | None, float | None]  # with its interval
_NO_RATIO: _Ratio = (None, None, None)


def judge(key: PointKey, pair: Pair, terms: Terms) -> ComparedPoint:
    """Compare two results at the point `key`."""
    base, new = pair.base, pair.new
    if base.wrong or new.wrong:
        return _point(key, pair, _NO_RATIO, "wrong")
    # The bootstrap would draw both sides apart, and find a difference by chance.
    if pair.is_itself:
        one = None if base.measured.median_us is None else 1.0
        return _point(key, pair, (one, one, one), "same")
    if base.spread is None or new.spread is None:
        return _point(key, pair, _NO_RATIO, "undecided")
    return _judged(key, pair, (base.spread, new.spread), terms)


def _point(
    key: PointKey, pair: Pair, found: _Ratio, said: Verdict, needed: int | None = None
) -> ComparedPoint:
    value, low, high = found
    return ComparedPoint(
        **asdict(key),
        base=pair.base.measured,
        new=pair.new.measured,
        ratio=value,
        low=low,
        high=high,
        verdict=said,
        launches_needed=needed,
    )


def _judged(
    key: PointKey, pair: Pair, spreads: tuple[Spread, Spread], terms: Terms
) -> ComparedPoint:
    base, new = pair.base, pair.new
    value = spreads[1].figure / spreads[0].figure
    low, high = ratio_interval(*spreads)
    # One launch says nothing of how launches differ: the user has to.
    unknown = 1 + terms.launch_spread if base.has_one_launch or new.has_one_launch else 1.0
    low, high = round(low / unknown, _RATIO_DIGITS), round(high * unknown, _RATIO_DIGITS)
    said = "undecided" if pair.apart else verdict(low, high, terms.threshold)
    needed = None
    if said == "undecided" and not pair.apart:
        launches = (base.measured.launches, new.measured.launches)
        needed = launches_needed(spreads, launches, value, terms)
    return _point(key, pair, (round(value, _RATIO_DIGITS), low, high), said, needed)


def verdict(low: float, high: float, threshold: float) -> Verdict:
    """Say where the interval [low, high] of new / base lies; `threshold` is a part, from 0 on."""
    limit = 1 + threshold
    if low > limit:
        return "slower"
    if high < 1 / limit:
        return "faster"
    return "same" if 1 / limit <= low and high <= limit else "undecided"


def launches_needed(
    spreads: Sequence[Spread], launches: Sequence[int], ratio: float, terms: Terms
) -> int | None:
    """Return about how many launches of each run would decide; None if more than MOST.

    `spreads` and `launches` are those of both runs now, `ratio` is that of their medians. Student's
    interval narrows by the root of the number of launches, and so does what chance does to the
    ratio: with so many it crosses no border in 4 of 5 cases.
    """
    # Two launches differ by less than --launch-spread in 95 of 100 cases; each has half of that
    # variance.
    between = (log(1 + terms.launch_spread) / NORMAL_975) ** 2 / 2
    # Of the ratio's logarithm, from one launch of each run.
    variance = sum(
        count * spread.variance + (between if count == 1 else 0.0)
        for spread, count in zip(spreads, launches, strict=True)
    )
    limit = log(1 + terms.threshold)
    room = min(abs(log(ratio) - limit), abs(log(ratio) + limit))  # to the nearer border
    # More than there are: these have not decided it.
    for more in range(max(*launches, 1) + 1, MOST + 1):
        if (t_975(2 * more - 2) + _NORMAL_80) * sqrt(variance / more) < room:
            return more
    return None
