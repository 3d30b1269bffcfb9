"""How many independent samples a run of samples is worth for its median, and whether it drifts.

The variance of a median is that of the mean of I(x > median), over a density squared; so what
counts is the autocorrelation of the side of the median that a sample is on, which spikes of any
height leave alone. Samples equal to the median are on neither side: -1, 0 and 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import copysign, inf, sqrt
from statistics import NormalDist
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
# Of fewer samples the first tenth is a handful.
DRIFT_FROM = 50
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
    # Padded to twice the length: else the transform, a circle, joins the end to the beginning.
    spectrum = np.fft.rfft(signs, 1 << (2 * count - 1).bit_length())
    raw = np.rint(np.fft.irfft(spectrum.real**2 + spectrum.imag**2)[:count])
    mean = float(signs.sum()) / count
    if not mean:
        return raw
    heads = np.cumsum(signs)
    overlaps = heads[::-1] + heads[-1] - np.concatenate(([0], heads[:-1]))
    corrected: Floats = raw - mean * overlaps + np.arange(count, 0, -1) * mean**2
    return corrected


@dataclass(frozen=True)
class Shift:
    """How far one part of the samples lies above another."""

    relative: float  # difference of the medians, as a part of the median of all
    score: float  # of the median test: about normal, variance 1, if both are of one distribution


def startup_drift(samples: Samples | Sequence[float]) -> Shift | None:
    """Return how far the first tenth of one launch's samples lies above the rest.

    None for fewer than DRIFT_FROM samples. The autocorrelation is that of the rest, which a start
    does not touch.
    """
    values = np.asarray(samples, np.float64)
    if len(values) < DRIFT_FROM:
        return None
    first, rest = np.split(values, [len(values) // 10])
    return _shift(first, rest, [rest], float(np.median(values)))


def slow_drift(samples: Samples | Sequence[float]) -> Shift | None:
    """Return how far the second half of one launch's samples lies above the first.

    Both are halves of what follows the first tenth. None for fewer than DRIFT_FROM samples. The
    autocorrelation is that of the halves, each about its own median, which a step between them
    does not touch.
    """
    values = np.asarray(samples, np.float64)
    if len(values) < DRIFT_FROM:
        return None
    rest = values[len(values) // 10 :]
    early, late = np.split(rest, [len(rest) // 2])
    return _shift(late, early, [early, late], float(np.median(values)))


def worst(shifts: Sequence[Shift | None]) -> tuple[int, Shift] | None:
    """Return the shift that chance explains least, with its place; None where there is none."""
    known = [(place, shift) for place, shift in enumerate(shifts) if shift]
    return max(known, key=lambda one: abs(one[1].score), default=None)


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


def critical_ratio(level: float) -> float:
    """Return the upper point of chi-square of BATCHES - 1 degrees of freedom, over these.

    E. B. Wilson, M. M. Hilferty, The distribution of chi-square, PNAS 17, 1931.
    """
    variance = 2 / 9 / (BATCHES - 1)
    deviation = NormalDist().inv_cdf(1 - level) * sqrt(variance)
    return float((1 - variance + deviation) ** 3)


def _critical(level: float) -> float:
    return NormalDist().inv_cdf(1 - level / 2)


def _shift(part: Floats, other: Floats, alike: Sequence[Floats], median: float) -> Shift:
    """Compare `part` with `other` by the sides of the median of `alike` that their samples are on.

    A. M. Mood's median test (Introduction to the Theory of Statistics, 1950), its variance
    multiplied by the samples of `alike` per independent one.
    """
    common = np.concatenate(alike)
    centre = float(np.median(common))
    spread = float(sides(common, centre).var())
    above = float(sides(part, centre).mean() - sides(other, centre).mean())
    per_independent = inefficiency(autocorrelations(alike), sum(map(len, alike)))
    error = sqrt(spread * per_independent * (1 / len(part) + 1 / len(other)))
    difference = float(np.median(part) - np.median(other))
    # A difference where nothing varies is no chance.
    score = above / error if error else copysign(inf, above) if above else 0.0
    return Shift(difference / median if median else 0.0, score)
