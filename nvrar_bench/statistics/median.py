"""What a run of samples comes to: medians with their interval, percentiles, bandwidths.

Seconds and bytes in, seconds and bytes per second out; formatting is the reports' business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import comb, floor, isqrt, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from nvrar_bench.errors import NvrarBenchError, UsageError

Samples = npt.NDArray[np.floating[Any]]

# Below this the p95 and p99 are a handful of samples.
PERCENTILES_FROM = 100


@dataclass(frozen=True)
class Summary:
    """Statistics of one run of samples, all in seconds; None where there are too few samples."""

    median: float
    ci95_low: float | None
    ci95_high: float | None
    mean: float
    min: float
    max: float
    p95: float | None
    p99: float | None


def summarize(samples_seconds: Samples, effective: float | None = None) -> Summary:
    """Return the statistics of `samples_seconds`, shape (n,), in any order, n >= 1.

    The median's interval is `median_interval`'s for `effective` samples; the percentiles are
    `percentile`'s, from PERCENTILES_FROM samples on. NvrarBenchError when there is no sample or one
    is not finite.
    """
    ordered = np.sort(np.asarray(samples_seconds, np.float64))
    if not ordered.size or not np.isfinite(ordered).all():
        raise NvrarBenchError(
            f"cannot summarise {ordered.size} samples: need finite ones, 1 or more"
        )
    low, high = median_interval(ordered, effective=effective) or (None, None)
    enough = ordered.size >= PERCENTILES_FROM
    return Summary(
        median=float(np.median(ordered)),
        ci95_low=low,
        ci95_high=high,
        mean=float(ordered.mean()),
        min=float(ordered[0]),
        max=float(ordered[-1]),
        p95=percentile(ordered, 95) if enough else None,
        p99=percentile(ordered, 99) if enough else None,
    )


def median_interval(
    ordered: Sequence[float] | Samples, confidence: float = 0.95, effective: float | None = None
) -> tuple[float, float] | None:
    """Return the interval that holds the population's median with at least `confidence`.

    `ordered` is sorted, ascending. The interval runs from the d-th smallest to the d-th largest
    sample, d being the largest with 2 P(B < d) <= 1 - confidence for B ~ binomial(n, 1/2), the
    number of samples below the median. Nothing is assumed but independent samples of one
    distribution (H. A. David, H. N. Nagaraja, Order Statistics, 3rd ed., Wiley 2003, section 7.1).

    `effective`, of `independence.effective_samples`, is how many independent samples these are
    worth. Below n it widens the interval: the number of samples below the median then has
    n / effective times the variance, so that d lies sqrt(n / effective) times as far from the
    middle place, (n + 1) / 2, and is rounded down.

    None where even the extremes are too close together: n < 6, or `effective` < 6, at 0.95.
    UsageError for a confidence outside (0, 1).
    """
    if not 0 < confidence < 1:
        raise UsageError(f"confidence is {confidence}; allowed: between 0 and 1")
    count = len(ordered)
    depth = _depth(count, confidence)
    worth = count
    if effective is not None and effective < count:
        worth = floor(effective)
        middle = (count + 1) / 2
        depth = floor(middle - (middle - depth) * sqrt(count / effective))
    if depth < 1 or _depth(worth, confidence) < 1:
        return None
    return float(ordered[depth - 1]), float(ordered[-depth])


def percentile(ordered: Sequence[float] | Samples, percent: int) -> float:
    """Return the smallest sample that at least `percent` of all samples do not exceed.

    `ordered` is sorted, ascending; the answer is always one of the samples.
    """
    place = -(-len(ordered) * percent // 100)
    return float(ordered[max(place, 1) - 1])


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


@lru_cache(maxsize=4096)
def _depth(count: int, confidence: float) -> int:
    """Return the largest d with 2 P(B < d) <= 1 - confidence, B ~ binomial(count, 1/2).

    In integers. The tail about 12 standard deviations below is left out: by Hoeffding's inequality
    it is less than exp(-60).
    """
    allowed = 1 - Fraction(str(confidence))
    budget = allowed.numerator * 2**count // (2 * allowed.denominator)
    depth = max(0, count // 2 - 6 * isqrt(count))
    term = comb(count, depth)
    below = term
    while below <= budget:
        depth += 1
        term = term * (count - depth + 1) // depth
        below += term
    return depth
