"""One figure of several launches of mpirun, its interval, and variation within and between them.

What differs from launch to launch - placement of ranks and memory, the state of the machine - is
the same for all samples of one launch, so that the launches are what is independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from nvrar_bench.statistics.drift import Shift, slow_drift, startup_drift
from nvrar_bench.statistics.independence import BATCHES, Floats, Samples, dependence
from nvrar_bench.statistics.median import median_interval
from nvrar_bench.statistics.states import Masks
from nvrar_bench.statistics.student import NORMAL_975, t_975

Interval = tuple[float, float]

# From this many on, order statistics have an interval at 95 %.
ORDER_STATISTICS_FROM = 6


@dataclass(frozen=True)
class Launch:
    """What the samples of one launch come to, in their unit; None where there are too few.

    `unsteady` is `Dependence`'s; `apart` is how far the medians of BATCHES of samples lie apart, as
    a part of the median.
    """

    count: int
    median: float
    interval: Interval | None
    effective: float
    lag1: float | None
    unsteady: float | None
    apart: float
    startup: Shift | None
    slow: Shift | None

    @classmethod
    def of(cls, samples: Samples) -> Launch:
        """Summarise `samples`, shape (n,), n >= 1, in the order in which they were taken."""
        found = dependence(samples)
        median = float(np.median(samples))
        return cls(
            len(samples),
            median,
            median_interval(np.sort(samples), effective=found.effective),
            found.effective,
            found.lag1,
            found.unsteady,
            _apart(samples) / median if median else 0.0,
            startup_drift(samples),
            slow_drift(samples),
        )


def cut(samples: Floats, counts: Sequence[int], kept: Masks) -> list[Floats]:
    """Return the samples that are `kept`, shape (n,), launch by launch; `counts` add up to n."""
    ends = np.cumsum(counts)[:-1]
    pairs = zip(np.split(samples, ends), np.split(kept, ends), strict=True)
    return [part[mask] for part, mask in pairs]


def headline(launches: Sequence[Launch]) -> float:
    """Return the median of the launches' medians."""
    return float(np.median([launch.median for launch in launches]))


def headline_interval(launches: Sequence[Launch]) -> Interval | None:
    """Return the 95 % interval of `headline`; None where it cannot be told.

    One launch: that of its samples. From ORDER_STATISTICS_FROM launches on: `median_interval` of
    the launches' medians. Between: Student's t about their mean, not below 0, which assumes a
    normal distribution of medians, since two to five order statistics reach no 95 %.
    """
    if len(launches) == 1:
        return launches[0].interval
    medians = np.sort([launch.median for launch in launches])
    if len(medians) >= ORDER_STATISTICS_FROM:
        return median_interval(medians)
    half = t_975(len(medians) - 1) * float(medians.std(ddof=1)) / sqrt(len(medians))
    mean = float(medians.mean())
    return max(0.0, mean - half), mean + half


def within(launches: Sequence[Launch]) -> float | None:
    """Return the standard error that a launch's median has for lack of samples, pooled.

    The root of the mean square of the launches' own; each is the half-width of the launch's
    interval over NORMAL_975. None where no launch has an interval.
    """
    halves = [(i[1] - i[0]) / 2 for i in (launch.interval for launch in launches) if i]
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
