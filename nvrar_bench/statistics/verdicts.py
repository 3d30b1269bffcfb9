"""The verdict on a point that two runs have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from msgspec.structs import asdict

from nvrar_bench.documents.comparison import ComparedPoint, PointKey, RunMedian, Verdict
from nvrar_bench.documents.result import Result
from nvrar_bench.statistics.bootstrap import Spread, own_interval, ratio, spread_of
from nvrar_bench.statistics.figures import in_median, stretches_of
from nvrar_bench.statistics.needed import Runs, launches_needed
from nvrar_bench.statistics.samples import figure, launches_of, unusable
from nvrar_bench.statistics.states import Masks, Stretches, common_state, samples_of

Readings = tuple[float, float, float]

_RATIO_DIGITS = 6
_MICRO_DIGITS = 4
_RAW = ("samples_us", "launch_samples", "late", "stretches")
# Most launches of the same sweep on a virtual machine with other guests differ by less.
LAUNCH_SPREAD = 0.3


class Side:
    """Some samples of a result as one side of a comparison: 0 is the base, 1 is new.

    Every point draws the same random numbers, whatever other points there are.
    """

    def __init__(self, result: Result, counts: Masks, seed: int, side: int) -> None:
        launches = launches_of(result, counts)
        in_time = np.ones(len(counts), bool)
        in_time[list(result.late)] = False
        self.problem = unusable(launches)
        if launches and not in_time.any():
            self.problem = "no samples but late ones"
        self.has_one_launch = len(launches) == 1
        self.kept_launches = (len(launches), len(result.launch_samples))  # of how many
        self.wrong = result.check.status == "failed"
        self.spread: Spread | None = None
        if self.problem is None:
            self.spread = spread_of(launches, np.random.default_rng([seed, side]))
        median = round(figure(launches), _MICRO_DIGITS) if launches else None
        low = high = None
        if self.spread is not None:
            found = own_interval(self.spread)
            low, high = round(found.low, _MICRO_DIGITS), round(found.high, _MICRO_DIGITS)
        left_out = int(np.sum(in_time & ~counts))
        self.measured = RunMedian(median, low, high, int(counts.sum()), len(launches), left_out)


class Candidate:
    """A result, and what has been made of its samples: a base is compared with several runs.

    Its own samples are those that the median in the table of its run is of.
    """

    def __init__(self, result: Result, seed: int, side: int, one_state: bool = False) -> None:
        self.stretches = stretches_of(result)
        self.readings = _medians(self.stretches)
        self.own = in_median(result, one_state)
        self.result, self._seed, self._side = result, seed, side
        self._sides: dict[bytes, Side] = {}

    def side(self, counts: Masks) -> Side:
        """Return what the samples that `counts`, shape (n,), has come to."""
        key = counts.tobytes()
        if key not in self._sides:
            self._sides[key] = Side(self.result, counts, self._seed, self._side)
        return self._sides[key]

    def in_state(self, chosen: Sequence[Masks]) -> Masks:
        """Return which samples are in time and of the `chosen` stretches of each launch."""
        counts = samples_of(self.stretches, chosen)
        counts[list(self.result.late)] = False
        return counts if counts.any() else self.own

    def is_measured_as(self, other: Candidate) -> bool:
        """Say whether both have the very same samples."""
        return all(getattr(self.result, key) == getattr(other.result, key) for key in _RAW)


@dataclass(frozen=True, eq=False)
class Pair:
    """A point's two results, and what is compared of them.

    `readings_us`, in the order of states.YARDSTICKS, are the medians over the stretches of each
    side, None where unknown. `apart` says that each side was in states of the machine for long, but
    in none that the other had too; `is_itself` that both are one measurement.
    """

    base: Side
    new: Side
    readings_us: tuple[Readings | None, Readings | None]
    apart: bool
    is_itself: bool

    @classmethod
    def of(
        cls, base: Candidate, new: Candidate, *, one_state: bool = False, same_run: bool = False
    ) -> Pair:
        """Choose each side's own samples; with `one_state` those of a state that both were in."""
        counts, apart = (base.own, new.own), False
        if one_state:
            counts, apart = _of_common_state(base, new)
        return cls(
            base.side(counts[0]), new.side(counts[1]), (base.readings, new.readings), apart,
            same_run and base.is_measured_as(new),
        )  # fmt: skip


def _of_common_state(base: Candidate, new: Candidate) -> tuple[tuple[Masks, Masks], bool]:
    """Choose samples, and say whether the sides are apart.

    All count where a side was in no state for long, as in the table of a run.
    """
    found = common_state(base.stretches, new.stretches)
    restless = any(common_state(one.stretches).apart for one in (base, new))
    counts = (base.in_state(found.chosen[0]), new.in_state(found.chosen[1]))
    return counts, found.apart and not restless


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
    much two launches of the same thing may differ, where a run has one launch and cannot tell. With
    `one_state` only samples of a state of the machine that both runs met are compared.
    """

    threshold: float = 0.05
    launch_spread: float = LAUNCH_SPREAD
    one_state: bool = False


_Ratio = tuple[float | None, float | None, float | None]  # with its interval
_NO_RATIO: _Ratio = (None, None, None)


def judge(key: PointKey, pair: Pair, terms: Terms) -> ComparedPoint:
    """Compare two results at the point `key`."""
    base, new = pair.base, pair.new
    if base.wrong or new.wrong:
        return _point(key, pair, _NO_RATIO, "wrong")
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
    found = ratio(*spreads)
    unknown = 1 + terms.launch_spread if base.has_one_launch or new.has_one_launch else 1.0
    low, high = (
        round(found.low / unknown, _RATIO_DIGITS),
        round(found.high * unknown, _RATIO_DIGITS),
    )
    said = "undecided" if pair.apart else verdict(low, high, terms.threshold)
    needed = None
    if said == "undecided" and not pair.apart:
        launches = (base.measured.launches, new.measured.launches)
        runs = Runs(spreads, launches, found.value, terms.launch_spread)
        needed = launches_needed(runs, terms.threshold)
    value = round(found.value, _RATIO_DIGITS)
    return _point(key, pair, (value, low, high), said, needed)


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
