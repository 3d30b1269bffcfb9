"""When the figures of a result do not hold: of which kind, in numbers, and what to do about it.

A kind is a row: it writes the warning of the record, and reads it again for the line below a table.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil, log10

import numpy as np
import numpy.typing as npt

from nvrar_bench.statistics.independence import ENOUGH, Shift, alarming, critical_ratio, worst
from nvrar_bench.statistics.median import NORMAL_975, Estimate, t_975
from nvrar_bench.statistics.points import ORDER_STATISTICS_FROM, Launch

# How the warnings of these doubts begin: a replay replaces them alone.
DOUBT = "statistics: "
# How those of the ruler begin: where records are merged, those of the first launch stand for all.
RULER = "ruler: "
# Chance of an alarm where nothing drifts. The second is nominal: the autocorrelation within halves
# is known less well, and 1 in 100 is what comes of it.
STARTUP_LEVEL = 0.01
SLOW_LEVEL = 0.0027
# From so many samples on a machine that changes all the time differs from chance.
_RESTLESS_FROM = 100
# A drift below this part of the median is not reported.
SMALL = 0.001
MORE_THAN_ALL = "more than all"  # of a median that is 0
# Launches disagree from so many standard errors within a launch on.
APART = 3.0
TOLERATED = 0.1  # of the samples may be of another state, unmentioned
MOST_LATE = 0.5  # of the samples may be late, unmentioned: they are counted, and cost only samples
# Of so many effective samples the interval covers nearly as often as it says (ci/coverage.py).
NEARLY_ENOUGH = 24.5
# What numbers look like in the texts of somebody else's record.
_SHAPES = {"n": rf"\d+(?:\.\d+)?(?:e[+-]?\d+)?(?: %)?|{MORE_THAN_ALL}", "effective": r"\d+"}


@dataclass(frozen=True)
class DoubtKind:
    """A kind of doubt: its warning, and the note of all that have the same; {} hold numbers."""

    text: str
    note: str

    def __call__(self, **numbers: str | int) -> str:
        """Return the warning of the record."""
        return self.text.format(**numbers)

    def read(self, warning: str) -> Mapping[str, str] | None:
        """Return the numbers of a warning; None where it is of another kind."""
        found = self._pattern.match(warning)
        return found and found.groupdict()

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        # Versions differ in what to do about the cost of timing, which comes last.
        is_ruler = self.text.startswith(RULER)
        text = re.escape(self.text.rpartition(": ")[0] if is_ruler else self.text)
        for name in re.findall(r"\\{(\w+)\\}", text):
            text = text.replace(rf"\{{{name}\}}", f"(?P<{name}>{_SHAPES.get(name, '.*?')})", 1)
            text = text.replace(rf"\{{{name}\}}", f"(?P={name})")
        return re.compile(text + (":" if is_ruler else r"\Z"))


def _kind(text: str, note: str | None = None) -> DoubtKind:
    """A kind of this file; without a note of its own it is noted in full."""
    return DoubtKind(DOUBT + text, text if note is None else note)


# What to do about it, where a run can have several launches.
REPEAT = "repeat it with several --launches"
_CHANGED = f"so the machine changed speed during the run and the interval does not hold; {REPEAT}"
_CHANGED_NOTE = "the machine changed speed by {n}, so ±95% is too narrow; use --launches 6"
# The least important first, as they are noted.
KINDS = (
    # What timing each call alone costs is the same at all points, and so said once.
    ALONE := DoubtKind(
        f"{RULER}each call was timed alone, and {{n}} us of every figure are the two events around "
        "it: --batch K shares them among K calls",
        "two events around each call are {n} us of each time; share them with --batch",
    ),
    COSTLY := DoubtKind(
        f"{RULER}{{what}}, {{us}} us, is {{n}} of the median of {{median}} us: measure longer "
        "messages, or more calls per sample (--batch)",
        "measuring itself takes up to {n} of these times; use --batch 10 or more",
    ),
    STARTUP := _kind(
        "the first tenth of the samples{where} lies {n} {side} the rest, so calls had not settled; "
        "raise --warmup",
        "the first calls differ from the rest by up to {n}; raise --warmup",
    ),
    MISSED := _kind(
        "a --precision of {wish} was asked for, and {taken} {what} reached {reached}; allow about "
        "{n} {what}, or ask for less",
        "--precision {wish} was missed; allow {n} {what}, or ask for less",
    ),
    FOLLOW := _kind(
        "samples are correlated: these {count} are worth {effective} independent ones, too few for "
        "a 95 % interval to hold; raise --iters to {n}, or use --precision",
        "samples are correlated, so ±95% is too narrow; use --iters {n}",
    ),
    SLOW := _kind(
        "the second half of the samples{where} lies {n} {side} the first, " + _CHANGED,
        _CHANGED_NOTE,
    ),
    UNSTEADY := _kind(
        "the medians of tenths of the run{where} lie {n} apart, " + _CHANGED, _CHANGED_NOTE
    ),
    LAUNCHES_DIFFER := _kind(
        "launches differ by {n} of the median, where samples within one leave {within} open, so a "
        "single launch would mislead; compare runs of several --launches alone",
        "launches differ by up to {n}, so one alone misleads; compare runs of several --launches",
    ),
    LATE := _kind(
        "{n} of {of} samples began late on some rank and are not in the figures; stop other work "
        "on these cores, or use --start barrier",
        "most samples began late; stop other work, or use --start barrier",
    ),
    TOO_FEW := _kind(
        "a --precision of {wish} was asked for, and {n} {what} are too few for an interval; "
        "allow more {what}"
    ),
    RESTLESS := _kind(
        "the machine kept changing speed, and the figures are of all its speeds; keep other work "
        "off it"
    ),
    OTHER_STATE := _kind(
        "launch {numbers} found the machine at another speed than most, and is not in the median; "
        "keep other work off it, or let --launches go on with --max-launches"
    ),
    EMPTY := _kind(
        "launch {numbers} has no sample in time and is not in the figures; repeat the run"
    ),
    ALL_LATE := _kind(
        "all {n} samples began late on some rank, and the figures are of these; keep other work "
        "off the cores, or run fewer ranks"
    ),
)


def doubts(
    launches: Sequence[Launch],
    launch_numbers: Sequence[int],
    figure: Estimate,
    target: float | None,
    between: float | None,
    within: float | None,
    kept: float = 1.0,
) -> Iterator[str]:
    """Yield the doubts about one result.

    `launch_numbers` are the launches' places in the record; `kept` is the part of the samples, or
    of several launches, that `launches` are of: who needs more has to take more than that.
    """
    startup, slow = [one.startup for one in launches], [one.slow for one in launches]
    yield from _shifted(STARTUP, startup, STARTUP_LEVEL, launch_numbers)
    drifting = list(_shifted(SLOW, slow, SLOW_LEVEL, launch_numbers))
    # One cause, one warning: what drifts is unsteady, too.
    yield from drifting or _unsteady(launches, launch_numbers)
    # Of several launches the interval is of their medians, and needs no independent samples.
    if len(launches) == 1:
        yield from _few_effective(launches[0], kept)
    if target is not None:
        yield from _missed(launches, figure, target, kept)
    if between and within is not None and between > max(APART * within, SMALL * figure.value):
        apart, left_open = between / figure.value, _percent(within / figure.value)
        yield LAUNCHES_DIFFER(n=_percent(apart), within=left_open)


def of_time(launch_samples: Sequence[int], places: Collection[int]) -> Iterator[str]:
    """Yield what late samples do to the figures; `places` are theirs among all."""
    in_time = np.ones(sum(launch_samples), bool)
    in_time[list(places)] = False
    samples, late = len(in_time), int(np.sum(~in_time))
    if samples and late == samples:
        yield ALL_LATE(n=samples)
    elif empty := _without(launch_samples, in_time):
        yield EMPTY(numbers=empty)
    elif late > MOST_LATE * samples:
        yield LATE(n=late, of=samples)


def of_state(
    launch_samples: Sequence[int], chosen: npt.NDArray[np.bool_], is_restless: bool
) -> Iterator[str]:
    """Yield what states of the machine do to the figures; `chosen` are the samples of one state."""
    if is_restless and len(chosen) >= _RESTLESS_FROM:
        yield RESTLESS()
    elif empty := _without(launch_samples, chosen):
        yield OTHER_STATE(numbers=empty)


def _without(launch_samples: Sequence[int], kept: npt.NDArray[np.bool_]) -> str:
    """Number the launches of which nothing is kept; empty where there is none."""
    parts = np.split(kept, np.cumsum(launch_samples)[:-1])
    return ", ".join(str(i) for i, part in enumerate(parts) if not part.any())


def _shifted(
    kind: DoubtKind, shifts: Sequence[Shift | None], level: float, numbers: Sequence[int]
) -> Iterator[str]:
    found = worst(shifts)
    if found is None or not alarming(shifts, level):
        return
    place, relative = found[0], found[1].relative
    if abs(relative) >= SMALL:
        side = "above" if relative > 0 else "below"
        yield kind(where=_where(numbers, place), n=_percent(abs(relative)), side=side)


def _unsteady(launches: Sequence[Launch], numbers: Sequence[int]) -> Iterator[str]:
    ratios = [launch.unsteady or 0.0 for launch in launches]
    place = max(range(len(ratios)), key=ratios.__getitem__)
    apart = launches[place].apart
    if ratios[place] > critical_ratio(SLOW_LEVEL / len(ratios)) and apart >= SMALL:
        yield UNSTEADY(where=_where(numbers, place), n=_percent(apart))


def _where(numbers: Sequence[int], place: int) -> str:
    return f" of launch {numbers[place]}" if len(numbers) > 1 else ""


def _few_effective(launch: Launch, kept: float) -> Iterator[str]:
    if launch.effective >= min(ENOUGH, launch.count):
        return
    needed = _about(launch.count * ENOUGH / launch.effective / kept)
    yield FOLLOW(count=launch.count, effective=f"{launch.effective:.0f}", n=needed)


def _missed(
    launches: Sequence[Launch], figure: Estimate, target: float, kept: float
) -> Iterator[str]:
    taken = len(launches) if len(launches) > 1 else launches[0].count
    what = "launches" if len(launches) > 1 else "samples"
    if figure.interval is None:
        yield TOO_FEW(wish=_percent(target), n=taken, what=what)
        return
    reached = figure.half_width or 0.0
    # What misses it by rounding alone has reached it.
    if reached > target * (1 + 1e-9):
        # Of many launches the interval has no longer the width that Student's t gives it for few.
        few = 1 < len(launches) < ORDER_STATISTICS_FROM
        shrinking = NORMAL_975 / t_975(taken - 1) if few else 1.0
        needed = _about(taken * (reached * shrinking / target) ** 2 / kept)
        said = {"wish": _percent(target), "reached": _percent(reached), "what": what}
        yield MISSED(**said, taken=taken, n=needed)


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
