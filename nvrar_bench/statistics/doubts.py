"""When the figures of a result do not hold, in words: what is wrong in numbers, and the remedy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil, log10, sqrt
from statistics import NormalDist

import numpy as np

from nvrar_bench.statistics.drift import Shift
from nvrar_bench.statistics.independence import BATCHES
from nvrar_bench.statistics.launches import ORDER_STATISTICS_FROM, Interval, Launch
from nvrar_bench.statistics.states import Masks
from nvrar_bench.statistics.student import NORMAL_975, t_975
from nvrar_bench.timing.rules.enough import ENOUGH

# How every doubt begins: a replay replaces these warnings alone.
DOUBT = "statistics: "
# Chance of an alarm where nothing drifts. The second is nominal: the autocorrelation within halves
# is known less well, and 1 in 100 is what comes of it.
STARTUP_LEVEL = 0.01
SLOW_LEVEL = 0.0027
# So many samples tell a machine that changes all the time from chance.
_RESTLESS_FROM = 100
# A drift below this part of the median is not told.
SMALL = 0.001
# Launches disagree from so many standard errors within a launch on.
APART = 3.0
TOLERATED = 0.1  # of the samples may be of another state, unmentioned
MOST_LATE = 0.5  # of the samples may be late, unmentioned: they are counted, and cost only samples


def doubts(
    launches: Sequence[Launch],
    launch_numbers: Sequence[int],
    median: float,
    interval: Interval | None,
    target: float | None,
    between: float | None,
    within: float | None,
    kept: float = 1.0,
) -> Iterator[str]:
    """Yield the doubts about one result, without DOUBT in front.

    `launch_numbers` are the launches' places in the record; `kept` is the part of the samples, or
    of several launches, that `launches` are of: who needs more has to take more than that.
    """
    yield from _drifts(launches, launch_numbers)
    if len(launches) == 1:
        yield from _few_effective(launches[0], kept)
    if target is not None:
        yield from _missed(launches, median, interval, target, kept)
    yield from _apart(median, between, within)


def of_time(launch_samples: Sequence[int], in_time: Masks) -> Iterator[str]:
    """Yield what late samples do to the figures; `in_time`, shape (n,), says which are not late."""
    samples, late = len(in_time), int(np.sum(~in_time))
    if samples and late == samples:
        yield (
            f"all {samples} samples are late, and the figures are of these: a rank began each of "
            "them behind the others; keep other work off its cores, or run fewer ranks"
        )
    elif empty := _without(launch_samples, in_time):
        yield f"{empty} has no sample in time and is not in the figures; repeat the run"
    elif late > MOST_LATE * samples:
        yield (
            f"{late} of {samples} samples began late on some rank and are not in the figures; stop "
            "other work on these cores, or use --start barrier"
        )


def of_state(launch_samples: Sequence[int], chosen: Masks, is_restless: bool) -> Iterator[str]:
    """Yield what states of the machine do to the figures; `chosen` are the samples of one state."""
    if is_restless and len(chosen) >= _RESTLESS_FROM:
        yield (
            "the machine was in no state for long, and the figures are of all its states; keep "
            "other work off it"
        )
    elif empty := _without(launch_samples, chosen):
        yield (
            f"{empty} found the machine in another state than most, and is not in the median; keep "
            "other work off it, or let --launches go on with --max-launches"
        )


def _without(launch_samples: Sequence[int], kept: Masks) -> str:
    """Name the launches of which nothing is kept; empty where there is none."""
    parts = np.split(kept, np.cumsum(launch_samples)[:-1])
    numbers = [str(i) for i, part in enumerate(parts) if not part.any()]
    return f"launch {', '.join(numbers)}" if numbers else ""


def worst(shifts: Sequence[Shift | None]) -> int | None:
    """Return the place of the shift that chance explains least; None where there is none."""
    scores = [abs(shift.score) if shift else -1.0 for shift in shifts]
    place = max(range(len(scores)), key=scores.__getitem__)
    return place if scores[place] >= 0 else None


def alarming(shifts: Sequence[Shift | None], level: float) -> bool:
    """Say whether chance alone makes such shifts in less than `level` of cases.

    Of several launches either one stands out, or all lean to one side (Bonferroni, and Stouffer's
    sum of scores; half of the level each).
    """
    scores = [shift.score for shift in shifts if shift]
    if not scores:
        return False
    count = len(scores)
    if count == 1:
        return abs(scores[0]) > _critical(level)
    alone = max(map(abs, scores)) > _critical(level / 2 / count)
    return alone or abs(sum(scores)) / sqrt(count) > _critical(level / 2)


def _critical(level: float) -> float:
    return NormalDist().inv_cdf(1 - level / 2)


def _drifts(launches: Sequence[Launch], numbers: Sequence[int]) -> Iterator[str]:
    startup = [launch.startup for launch in launches]
    place = _told(startup, STARTUP_LEVEL)
    if place is not None:
        yield (
            f"the first tenth of the samples{_of(numbers, place)} lies {_lies(startup[place])} the "
            "rest, so calls had not settled; raise --warmup"
        )
    slow = [launch.slow for launch in launches]
    place = _told(slow, SLOW_LEVEL)
    if place is not None:
        yield (
            f"the second half of the samples{_of(numbers, place)} lies {_lies(slow[place])} the "
            f"first, {_UNSTEADY}"
        )
        return
    ratios = [launch.unsteady or 0.0 for launch in launches]
    place = max(range(len(ratios)), key=ratios.__getitem__)
    if ratios[place] > _critical_ratio(SLOW_LEVEL / len(ratios)) and launches[place].apart >= SMALL:
        yield (
            f"the medians of tenths of the run{_of(numbers, place)} lie "
            f"{_percent(launches[place].apart)} apart, {_UNSTEADY}"
        )


_UNSTEADY = (
    "so the machine changed under the run and the interval does not hold; repeat it with several "
    "--launches"
)


def _told(shifts: Sequence[Shift | None], level: float) -> int | None:
    place = worst(shifts)
    shift = None if place is None else shifts[place]
    told = shift is not None and abs(shift.relative) >= SMALL and alarming(shifts, level)
    return place if told else None


def _of(numbers: Sequence[int], place: int) -> str:
    return f" of launch {numbers[place]}" if len(numbers) > 1 else ""


def _lies(shift: Shift | None) -> str:
    part = shift.relative if shift else 0.0
    return f"{_percent(abs(part))} {'above' if part > 0 else 'below'}"


def _critical_ratio(level: float) -> float:
    """Return the upper point of chi-square of BATCHES - 1 degrees of freedom, over these.

    E. B. Wilson, M. M. Hilferty, The distribution of chi-square, PNAS 17, 1931.
    """
    variance = 2 / 9 / (BATCHES - 1)
    deviation = NormalDist().inv_cdf(1 - level) * sqrt(variance)
    return float((1 - variance + deviation) ** 3)


def _few_effective(launch: Launch, kept: float) -> Iterator[str]:
    if launch.effective >= min(ENOUGH, launch.count):
        return
    needed = _about(launch.count * ENOUGH / launch.effective / kept)
    yield (
        f"samples follow each other: these {launch.count} tell as much of the median as "
        f"{launch.effective:.0f} independent ones, too few for a 95 % interval to hold; raise "
        f"--iters to {needed}, or ask for a --precision"
    )


def _missed(
    launches: Sequence[Launch], median: float, interval: Interval | None, target: float,
    kept: float,
) -> Iterator[str]:  # fmt: skip
    taken = len(launches) if len(launches) > 1 else launches[0].count
    what = "launches" if len(launches) > 1 else "samples"
    wish = f"a --precision of {_percent(target)} was asked for"
    if interval is None:
        yield f"{wish}, and {taken} {what} are too few for an interval; allow more {what}"
        return
    reached = (interval[1] - interval[0]) / 2 / median if median else 0.0
    if reached > target * (1 + 1e-9):
        # Of many launches the interval has no longer the width that Student's t gives it for few.
        few = 1 < len(launches) < ORDER_STATISTICS_FROM
        shrinking = NORMAL_975 / t_975(taken - 1) if few else 1.0
        needed = _about(taken * (reached * shrinking / target) ** 2 / kept)
        yield (
            f"{wish}, and {taken} {what} reached {_percent(reached)}; allow about {needed} "
            f"{what}, or ask for less"
        )


def _apart(median: float, between: float | None, within: float | None) -> Iterator[str]:
    if not between or within is None or between <= max(APART * within, SMALL * median):
        return
    yield (
        f"launches differ by {_percent(between / median)} of the median, where samples within "
        f"one leave {_percent(within / median)} open, so a single launch would mislead; compare "
        "runs of several --launches alone"
    )


def _percent(part: float) -> str:
    """Two digits, more above 100 %."""
    percent = 100 * part
    if percent < 0.01:
        return f"{percent:.1g} %"
    return f"{percent:.{max(0, 1 - int(log10(percent) // 1))}f} %"


def _about(number: float) -> int:
    """Round up to two digits."""
    step = int(10 ** max(0, int(log10(max(number, 1))) - 1))
    return ceil(number / step) * step
