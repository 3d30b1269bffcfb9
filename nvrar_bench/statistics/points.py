"""The points of a run: what tells them apart, and the figure of each, of one launch or several.

What differs from launch to launch of mpirun - placement of ranks and memory, the state of the
machine - is the same for all samples of one launch, so that the launches are what is independent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, TypeVar

import numpy as np

from nvrar_bench.documents.comparison import PointKey
from nvrar_bench.documents.record import RunRecord
from nvrar_bench.documents.result import Result, Stretch
from nvrar_bench.errors import UsageError
from nvrar_bench.statistics.independence import (
    BATCHES,
    Floats,
    Samples,
    Shift,
    dependence,
    slow_drift,
    startup_drift,
)
from nvrar_bench.statistics.machine_states import (
    Masks,
    Readings,
    Stretches,
    chosen_of,
    reading_of,
    samples_of,
    stretches_of,
)
from nvrar_bench.statistics.median import (
    NORMAL_975,
    Estimate,
    Interval,
    estimate,
    median_interval,
    t_975,
)

POINT = PointKey.__struct_fields__[:-1]  # what results of one point have in common

# The backend whose speed-up over the others is the question.
SUBJECT = "nvrar"
# From so many launches on, order statistics have an interval at 95 %.
ORDER_STATISTICS_FROM = 6

_Item = TypeVar("_Item")


def point_of(result: Result) -> tuple[Any, ...]:
    """Return the values of POINT."""
    return tuple(getattr(result, key) for key in POINT)


def numbered(
    items: Iterable[_Item], key: Callable[[_Item], Hashable]
) -> Iterator[tuple[int, _Item]]:
    """Yield each item with how many of the same `key` are before it."""
    seen = Counter[Hashable]()
    for item in items:
        yield seen[key(item)], item
        seen[key(item)] += 1


def points_of(record: RunRecord) -> Mapping[PointKey, Result]:
    """Return the results by point, in the order of the run."""
    return {
        PointKey(*(*point_of(result), repeat)): result
        for repeat, result in numbered(record.results, point_of)
    }


@dataclass(frozen=True, eq=False)
class Counted:
    """The samples of a point, launch after launch, and which of them its figure is of."""

    us: Floats  # microseconds, shape (n,) as the masks
    launches: Sequence[Stretches]
    in_time: Masks  # no rank began them late; all, where all are late
    chosen: Masks  # of the state that was asked for; all, where none was, or none of it is in time
    reading_us: Readings | None  # of the yardstick, in that state
    is_restless: bool  # one state was asked for, and none lasted for long

    @classmethod
    def of(
        cls,
        samples_us: Sequence[float],
        launch_samples: Sequence[int],
        late: Sequence[int],
        stretches: Sequence[Stretch],
        one_state: bool,
    ) -> Counted:
        """Leave out late samples and, with `one_state`, those of other states.

        UsageError: launches, late samples or stretches that these samples do not have.
        """
        us = np.array(samples_us, np.float64)
        if sum(launch_samples) != len(us) or not all(0 <= place < len(us) for place in late):
            raise UsageError(
                f"launch_samples add up to {sum(launch_samples)} and late goes to "
                f"{max(late, default=0)}; allowed: {len(us)} samples, and places among them"
            )
        launches = stretches_of(launch_samples, stretches)
        parts, is_restless = chosen_of(launches, one_state)
        chosen, reading_us = samples_of(launches, parts), reading_of(launches, parts)
        everything, in_time = np.ones(len(us), bool), np.ones(len(us), bool)
        in_time[list(late)] = False
        if not in_time.any():
            in_time = chosen = everything
        elif not (in_time & chosen).any():
            chosen = everything
        return cls(us, launches, in_time, chosen, reading_us, is_restless)

    @classmethod
    def of_result(cls, result: Result, one_state: bool) -> Counted:
        """As `of`."""
        raw = result.samples_us, result.launch_samples, result.late, result.stretches
        return cls.of(*raw, one_state)

    @property
    def mask(self) -> Masks:
        """Which samples the figure is of, shape (n,)."""
        return self.in_time & self.chosen

    @property
    def left_out(self) -> int:
        """How many samples in time are of another state."""
        return int(np.sum(self.in_time & ~self.chosen))

    @property
    def parts(self) -> list[Floats]:
        """The samples of each launch that count; empty where none of a launch does."""
        ends = np.cumsum([launch.samples.sum() for launch in self.launches])[:-1]
        pairs = zip(np.split(self.us, ends), np.split(self.mask, ends), strict=True)
        return [part[mask] for part, mask in pairs]

    @property
    def figure(self) -> float | None:
        """The figure of the point, in microseconds, as all documents show it."""
        parts = [part for part in self.parts if len(part)]
        return micros(headline(medians_of(parts))) if parts else None


def micros(microseconds: float) -> float:
    """Round a figure as all documents have it."""
    return round(microseconds, 4)


def rounded(microseconds: float | None) -> float | None:
    """Round a figure that may be unknown; as `micros`."""
    return None if microseconds is None else micros(microseconds)


@dataclass(frozen=True)
class Launch:
    """What the samples of one launch come to, in their unit; None where there are too few."""

    count: int
    median: float
    interval: Interval | None
    effective: float
    lag1: float | None
    unsteady: float | None  # `Dependence`'s
    apart: float  # how far the medians of BATCHES of samples lie apart, as a part of the median
    startup: Shift | None
    slow: Shift | None

    @classmethod
    def of(cls, samples: Samples) -> Launch:
        """Summarise `samples`, shape (n,), n >= 1, in the order in which they were taken."""
        found = dependence(samples)
        median = estimate(samples, found.effective)
        return cls(
            len(samples),
            median.value,
            median.interval,
            found.effective,
            found.lag1,
            found.unsteady,
            _apart(samples) / median.value if median.value else 0.0,
            startup_drift(samples),
            slow_drift(samples),
        )


def medians_of(launches: Sequence[Samples]) -> Floats:
    """Return the median of each launch's samples, shape (L,)."""
    return np.array([float(np.median(samples)) for samples in launches])


def headline(medians: Sequence[float] | Floats) -> float:
    """Return the figure of a point, for tables and `compare` alike: the median of its launches'."""
    return float(np.median(medians))


def figure(launches: Sequence[Launch]) -> Estimate:
    """Return the `headline` with its 95 % interval, where that is known.

    One launch: that of its samples. From ORDER_STATISTICS_FROM launches on: `median_interval` of
    the launches' medians. Between: Student's t about their mean, not below 0, which assumes a
    normal distribution of medians, since two to five order statistics reach no 95 %.
    """
    medians = np.sort([launch.median for launch in launches])
    return Estimate.of(headline(medians), _interval(launches, medians))


def _interval(launches: Sequence[Launch], medians: Floats) -> Interval | None:
    if len(launches) == 1:
        return launches[0].interval
    if len(medians) >= ORDER_STATISTICS_FROM:
        return median_interval(medians)
    # Two to five medians have no order statistics at 95 %: see `figure`.
    half = t_975(len(medians) - 1) * float(medians.std(ddof=1)) / sqrt(len(medians))
    mean = float(medians.mean())
    return Interval(max(0.0, mean - half), mean + half)


def within(launches: Sequence[Launch]) -> float | None:
    """Return the standard error that a launch's median has for lack of samples, pooled.

    The root of the mean square of the launches' own; each is the half-width of the launch's
    interval over NORMAL_975. None where no launch has an interval.
    """
    halves = [(i.high - i.low) / 2 for i in (launch.interval for launch in launches) if i]
    return sqrt(float(np.mean(np.square(halves)))) / NORMAL_975 if halves else None


def between(launches: Sequence[Launch]) -> float | None:
    """Return the standard deviation of launches beyond `within`: 0 where that explains it all.

    The estimate of a one-way layout with random effects. None for one launch, or without `within`.
    """
    error = within(launches)
    if len(launches) < 2 or error is None:
        return None
    variance = float(np.var([launch.median for launch in launches], ddof=1))
    return sqrt(max(0.0, variance - error**2))


def _apart(samples: Samples) -> float:
    length = len(samples) // BATCHES
    if not length:
        return 0.0
    medians = np.median(samples[: length * BATCHES].reshape(BATCHES, length), axis=1)
    return float(medians.max() - medians.min())
