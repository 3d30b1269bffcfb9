"""One figure of several launches of mpirun, its interval, and variation within and between them.

What differs from launch to launch - placement of ranks and memory, the state of the machine - is
the same for all samples of one launch, so that the launches are what is independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt

from nvrar_bench.statistics.drift import Shift, slow_drift, startup_drift
from nvrar_bench.statistics.independence import (
    BATCHES,
    Floats,
    Samples,
    dependence,
    effective_samples,
)
from nvrar_bench.statistics.median import (
    NORMAL_975,
    Estimate,
    Interval,
    median_interval,
    t_975,
)

# From this many on, order statistics have an interval at 95 %.
ORDER_STATISTICS_FROM = 6


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


def estimate(samples: Samples, effective: float | None = None) -> Estimate:
    """Return the median of one launch's `samples`, shape (n,), n >= 1, in order, with its interval.

    The interval is that of `effective` samples, by default `effective_samples`.
    """
    worth = effective_samples(samples) if effective is None else effective
    interval = median_interval(np.sort(samples), effective=worth)
    return Estimate.of(float(np.median(samples)), interval)


def cut(samples: Floats, counts: Sequence[int], kept: npt.NDArray[np.bool_]) -> list[Floats]:
    """Return the samples that are `kept`, shape (n,), launch by launch; `counts` add up to n."""
    ends = np.cumsum(counts)[:-1]
    pairs = zip(np.split(samples, ends), np.split(kept, ends), strict=True)
    return [part[mask] for part, mask in pairs]


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
