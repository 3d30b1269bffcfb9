"""The median with its interval, the ratio of two of them, percentiles and bandwidths.

Seconds and bytes in, seconds and bytes per second out; formatting is the reports' business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import comb, exp, floor, hypot, isqrt, lgamma, log, pi, sqrt
from typing import NamedTuple

import numpy as np

from nvrar_bench.documents.result import Latency
from nvrar_bench.errors import NvrarBenchError
from nvrar_bench.statistics.independence import Samples, effective_samples

NORMAL_975 = 1.959963984540054
_EXPANDED_FROM = 1e4  # degrees of freedom


class Interval(NamedTuple):
    """Both ends of an interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval; no interval where there were too few samples."""

    value: float
    low: float | None
    high: float | None

    @classmethod
    def of(cls, value: float, interval: Interval | None) -> Estimate:
        """Return `value` with `interval`."""
        return cls(value, *(interval or (None, None)))

    @property
    def interval(self) -> Interval | None:
        """Both ends; None where there is no interval."""
        return None if self.low is None or self.high is None else Interval(self.low, self.high)

    @property
    def half_width(self) -> float | None:
        """Half of the interval as a part of the figure; None where there is none of a figure."""
        if self.interval is None or self.value <= 0:
            return None
        low, high = self.interval
        return (high - low) / 2 / self.value

    def rate(self, amount: float) -> Estimate:
        """Return `amount` by this, a time: a long one is a low rate, so the ends change places."""
        low, high = (amount / end if end else None for end in (self.high, self.low))
        return Estimate(amount / self.value, low, high)

    def is_below(self, other: Estimate) -> bool:
        """Say whether the intervals leave no doubt."""
        if self.high is None or other.low is None:
            return False
        return self.high < other.low


def median_interval(
    ordered: Sequence[float] | Samples, effective: float | None = None
) -> Interval | None:
    """Return the interval that holds the population's median with a probability of 95 % or more.

    `ordered` is sorted, ascending. The interval runs from the d-th smallest to the d-th largest
    sample, d being the largest with P(B < d) <= 0.025 for B ~ binomial(n, 1/2), the number of
    samples below the median. Nothing is assumed but independent samples of one
    distribution (H. A. David, H. N. Nagaraja, Order Statistics, 3rd ed., Wiley 2003, section 7.1).

    `effective`, of `independence.effective_samples`, is how many independent samples these are
    worth. Below n it widens the interval: the number of samples below the median then has
    n / effective times the variance, so that d lies sqrt(n / effective) times as far from the
    middle place, (n + 1) / 2, and is rounded down.

    None where even the extremes are too close together: n < 6, or `effective` < 6.
    """
    count = len(ordered)
    depth = _depth(count)
    worth = count
    if effective is not None and effective < count:
        worth = floor(effective)
        middle = (count + 1) / 2
        depth = floor(middle - (middle - depth) * sqrt(count / effective))
    if depth < 1 or _depth(worth) < 1:
        return None
    return Interval(float(ordered[depth - 1]), float(ordered[-depth]))


def estimate(samples: Samples, effective: float | None = None) -> Estimate:
    """Return the median of one launch's `samples`, shape (n,), n >= 1, in order, with its interval.

    The interval is that of `effective` samples, by default `effective_samples`.
    """
    worth = effective_samples(samples) if effective is None else effective
    interval = median_interval(np.sort(samples), effective=worth)
    return Estimate.of(float(np.median(samples)), interval)


@lru_cache(maxsize=4096)
def _depth(count: int) -> int:
    """Return the largest d with P(B < d) <= 0.025 = 1/40, B ~ binomial(count, 1/2).

    In integers. The tail about 12 standard deviations below is left out: by Hoeffding's inequality
    it is less than exp(-60).
    """
    budget = 2**count // 40
    depth = max(0, count // 2 - 6 * isqrt(count))
    term = comb(count, depth)
    below = term
    while below <= budget:
        depth += 1
        term = term * (count - depth + 1) // depth
        below += term
    return depth


@lru_cache(maxsize=4096)
def t_975(freedom: float) -> float:
    """Return t with P(T <= t) = 0.975 for `freedom` >= 1 degrees of freedom, to 9 digits.

    With t = sqrt(f) tan(a), P(|T| <= t) is the integral of cos(a)^(f - 1) from 0 to a over that
    from 0 to pi/2, which is sqrt(pi)/2 Gamma(f/2) / Gamma((f + 1)/2). For many degrees of freedom
    it is expanded in 1/f (Abramowitz, Stegun, Handbook of Mathematical Functions, 26.7.5).
    """
    if freedom >= _EXPANDED_FROM:
        z = NORMAL_975
        return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    whole = sqrt(pi) / 2 * exp(lgamma(freedom / 2) - lgamma((freedom + 1) / 2))
    nodes, weights = np.polynomial.legendre.leggauss(64)
    low, high = 1.9, 13.0  # f = 1: 12.706; f without bound: 1.96
    for _ in range(50):  # of a width of 11, 1e-14 is left
        middle = (low + high) / 2
        angle = np.arctan(middle / sqrt(freedom))
        values = np.cos((nodes + 1) / 2 * angle) ** (freedom - 1)
        below = float(weights @ values) * angle / 2 / whole
        low, high = (middle, high) if below < 0.95 else (low, middle)
    return (low + high) / 2


def median_of(latency: Latency) -> Estimate:
    """Return the median of a record's latency, with its interval."""
    return Estimate(latency.median, latency.ci95_low, latency.ci95_high)


def ratio(top: Estimate, bottom: Estimate) -> Estimate:
    """Return top / bottom, both above 0, with its interval.

    The logarithms' distances to the ends of their intervals are added as independent errors are:
    G. Y. Zou, A. Donner, Construction of confidence limits about effect measures: a general
    approach, Statistics in Medicine 27, 2008. What both medians share, as turns side by side do,
    makes the interval wider than need be, not narrower.
    """
    value = top.value / bottom.value
    ends = (top.low, top.high, bottom.low, bottom.high)
    if any(end is None or end <= 0 for end in ends):
        return Estimate(value, None, None)
    up, down = _distances(top), _distances(bottom)
    return Estimate(
        value, value * exp(-hypot(up.low, down.high)), value * exp(hypot(up.high, down.low))
    )


def _distances(of: Estimate) -> Interval:
    """How far the ends of the interval lie below and above the figure, as logarithms."""
    low, high = of.low or of.value, of.high or of.value
    return Interval(max(0.0, log(of.value / low)), max(0.0, log(high / of.value)))


def percentile(samples: Sequence[float] | Samples, percent: int) -> float:
    """Return the smallest sample that at least `percent` of all samples do not exceed."""
    return float(np.percentile(samples, percent, method="inverted_cdf"))


def algbw(size_bytes: int, seconds: float) -> float:
    """Return the algorithm bandwidth in bytes/s: what one rank reduced, by the time it took."""
    if not seconds > 0:
        raise NvrarBenchError(f"{seconds} s has no bandwidth; the time must be above 0")
    return size_bytes / seconds


def busbw(size_bytes: int, seconds: float, ranks: int) -> float:
    """Return the bus bandwidth in bytes/s: algbw * 2(n-1)/n for n ranks, 0 for one.

    Every all-reduce must move 2(n-1)/n of the buffer through each rank's link, so that this figure
    compares with the link's speed whatever n is (nccl-tests, doc/PERFORMANCE.md).
    """
    return algbw(size_bytes, seconds) * 2 * (ranks - 1) / ranks
