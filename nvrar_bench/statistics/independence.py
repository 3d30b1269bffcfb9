"""How many independent samples a run of samples is worth, as far as its median goes.

The variance of a median is that of the mean of I(x > median), over a density squared; so what
counts is the autocorrelation of the side of the median that a sample is on, which spikes of any
height leave alone. Samples equal to the median are on neither side: -1, 0 and 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.floating[Any]]
Floats = npt.NDArray[np.float64]

# So many independent samples make an interval that covers as often as it says: ci/coverage.py.
ENOUGH = 50
# Of fewer samples no autocorrelation is estimated.
AUTOCORRELATION_FROM = 10
# One-sided 10 % point of the normal distribution.
_CHANCE = 1.2816
BATCHES = 10
# 5 % point of chi-square of BATCHES - 1 degrees of freedom, over these.
_BATCH_CHANCE = 1.8799


@dataclass(frozen=True)
class Dependence:
    """How the samples of one launch depend on each other, as far as their median goes.

    None is what too few samples leave unknown.
    """

    effective: float  # number of independent samples that these are worth, 1 to n
    lag1: float | None  # autocorrelation at lag 1 of the side of the median
    # Variance between BATCHES of samples, over what their autocorrelation explains: about
    # chi-square over its degrees of freedom where nothing lasts.
    unsteady: float | None


def dependence(samples: Samples | Sequence[float]) -> Dependence:
    """Return the dependence of `samples`, shape (n,), in the order in which they were taken.

    Samples per independent one are the `inefficiency`, or the `batch_inefficiency` where that is
    more by more than chance: the one sees what lasts for a few samples, the other what is weak and
    lasts long. Fewer than AUTOCORRELATION_FROM samples count as independent.
    """
    values = np.asarray(samples, np.float64)
    correlations = autocorrelations([values])
    per_independent = inefficiency(correlations, len(values))
    batches = batch_inefficiency(values)
    unsteady = None if batches is None else batches / per_independent
    if unsteady is not None and unsteady > _BATCH_CHANCE:
        per_independent *= unsteady
    return Dependence(
        max(1.0, len(values) / per_independent),
        None if correlations is None else float(correlations[1]),
        unsteady,
    )


def effective_samples(samples: Samples | Sequence[float]) -> float:
    """Return the number of independent samples that these are worth; see `dependence`."""
    return dependence(samples).effective


def sides(samples: Floats, of: float) -> npt.NDArray[np.int64]:
    """Return -1, 0 or 1 for each sample: below `of`, equal, above."""
    return np.sign(samples - of).astype(np.int64)


def autocorrelations(parts: Sequence[Floats]) -> Floats | None:
    """Return the autocorrelations of the sides of the median at lags 0, 1, ... of like parts.

    Each part has its own median, and no lag reaches from one part into the next. The answer is as
    long as the shortest part. None where that has fewer than AUTOCORRELATION_FROM samples, or where
    no side varies.
    """
    lags = min(map(len, parts))
    if lags < AUTOCORRELATION_FROM:
        return None
    total = np.zeros(lags)
    for part in parts:
        total += autocovariances(sides(part, float(np.median(part))))[:lags]
    return total / total[0] if total[0] > 0 else None


def inefficiency(correlations: Floats | None, count: int) -> float:
    """Return 1 + 2 x the sum of the autocorrelations: samples per independent sample, 1 or more.

    The sum is `_geyer`'s. 1 where neither lag 1 nor that sum is more than chance makes of `count`
    independent samples in 10 of 100 cases. Otherwise the correlations are taken again, for less
    bias: about a median of their own, those of L samples are short by 1 / L of the answer
    (M. S. Bartlett, On the theoretical specification and sampling properties of autocorrelated
    time series, J. R. Stat. Soc. Suppl. 8, 1946), and lag k has L - k products for lag 0's L.
    """
    if correlations is None:
        return 1.0
    total, lags = _geyer(correlations)
    chance = _CHANCE / sqrt(count)
    if correlations[1] <= chance and total <= chance * sqrt(lags):
        return 1.0
    length = len(correlations)
    missing = min(1.0, max(0.0, 1 + 2 * total) / length)
    half = np.arange(length // 2)
    unbiased = correlations[: len(half)] * length / (length - half)
    total, _ = _geyer(unbiased * (1 - missing) + missing)
    return min(float(length), max(1.0, 1 + 2 * total))


def batch_inefficiency(samples: Floats) -> float | None:
    """Return the variance of batches' shares above the median, over that of independent samples.

    The samples are cut into BATCHES; batches that last longer than what makes samples alike are
    independent (B. Schmeiser, Batch size effects in the analysis of simulation output, Operations
    Research 30, 1982). None for fewer than 5 samples a batch, or where no side varies.
    """
    length = len(samples) // BATCHES
    if length < 5:
        return None
    signs = sides(samples, float(np.median(samples)))
    spread = float(signs.var())
    means = signs[: length * BATCHES].reshape(BATCHES, length).mean(axis=1)
    return float(means.var(ddof=1)) * length / spread if spread else None


def _geyer(correlations: Floats) -> tuple[float, int]:
    """Sum the correlations from lag 1 on, to where Geyer's initial monotone sequence ends.

    That is of sums of neighbours, of lags 2m and 2m + 1, as long as they are positive, each at most
    the one before (C. J. Geyer, Practical Markov chain Monte Carlo, Statistical Science 7, 1992,
    section 3.3). Returns the sum and the number of lags in it.
    """
    even = len(correlations) // 2 * 2
    pairs = correlations[0:even:2] + correlations[1:even:2]
    ends = np.flatnonzero(pairs <= 0)
    pairs = np.minimum.accumulate(pairs[: ends[0] if len(ends) else None])
    return float(pairs.sum()) - 1, max(1, 2 * len(pairs) - 1)


def autocovariances(signs: npt.NDArray[np.int64]) -> Floats:
    """Return the sums of products about the mean at lags 0 to n - 1, shape (n,).

    The Fourier transform's sums of whole numbers are rounded to the whole numbers that they are, so
    that every machine finds the same digits.
    """
    count = len(signs)
    spectrum = np.fft.rfft(signs, 1 << (2 * count - 1).bit_length())
    raw = np.rint(np.fft.irfft(spectrum.real**2 + spectrum.imag**2)[:count])
    mean = float(signs.sum()) / count
    if not mean:
        return raw
    heads = np.cumsum(signs)
    overlaps = heads[::-1] + heads[-1] - np.concatenate(([0], heads[:-1]))
    corrected: Floats = raw - mean * overlaps + np.arange(count, 0, -1) * mean**2
    return corrected
