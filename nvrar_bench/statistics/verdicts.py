"""The verdict on a point that two runs have, and how many launches would decide it."""

from __future__ import annotations

from dataclasses import dataclass
from math import log, sqrt

from msgspec.structs import asdict

from nvrar_bench.documents.comparison import ComparedPoint, PointKey, Verdict
from nvrar_bench.statistics.bootstrap import Spread, ratio_interval
from nvrar_bench.statistics.median import NORMAL_975, t_975
from nvrar_bench.statistics.pairs import Pair

_RATIO_DIGITS = 6
# Most launches of the same sweep on a virtual machine with other guests differ by less.
LAUNCH_SPREAD = 0.3
MOST = 1000  # launches that sweep makes
_NORMAL_80 = 0.8416  # 80 % point of the normal distribution


@dataclass(frozen=True)
class Terms:
    """How points are judged: parts, so that 0.05 is 5 %.

    `threshold` is how far the whole interval of new / base must lie from 1; `launch_spread` how
    much two launches of the same thing may differ, where a run has only one launch. With
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
        runs = Runs(spreads, launches, value, terms.launch_spread)
        needed = launches_needed(runs, terms.threshold)
    return _point(key, pair, (round(value, _RATIO_DIGITS), low, high), said, needed)


def verdict(low: float, high: float, threshold: float) -> Verdict:
    """Say where the interval [low, high] of new / base lies; `threshold` is a part, from 0 on."""
    limit = 1 + threshold
    if low > limit:
        return "slower"
    if high < 1 / limit:
        return "faster"
    return "same" if 1 / limit <= low and high <= limit else "undecided"


@dataclass(frozen=True)
class Runs:
    """What is known of the two runs at a point: spreads, launches, and the ratio of the medians.

    `launch_spread` is by what part two launches may differ, where a run has only one.
    """

    spreads: tuple[Spread, Spread]
    launches: tuple[int, int]
    ratio: float
    launch_spread: float

    @property
    def variance(self) -> float:
        """Of the ratio's logarithm, from one launch of each run.

        Two launches differ by less than `launch_spread` in 95 of 100 cases; each has half of that
        variance.
        """
        between = (log(1 + self.launch_spread) / NORMAL_975) ** 2 / 2
        pairs = zip(self.spreads, self.launches, strict=True)
        return sum(
            count * spread.variance + (between if count == 1 else 0.0) for spread, count in pairs
        )


def launches_needed(runs: Runs, threshold: float) -> int | None:
    """Return about how many launches of each run would decide; None if more than MOST.

    Student's interval narrows by the root of the number of launches, and so does what chance does
    to the ratio: with so many it crosses no border in 4 of 5 cases.
    """
    ratio, limit, variance = log(runs.ratio), log(1 + threshold), runs.variance
    room = min(abs(ratio - limit), abs(ratio + limit))  # to the nearer border
    # More than there are: these have not decided it.
    for launches in range(max(*runs.launches, 1) + 1, MOST + 1):
        if (t_975(2 * launches - 2) + _NORMAL_80) * sqrt(variance / launches) < room:
            return launches
    return None
