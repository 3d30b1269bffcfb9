"""How long the blocks must be in which neighbouring samples are drawn together.

A median moves by how many samples lie above it, so what counts is the autocorrelation of the signs
of the samples about their median. The length is that of D. N. Politis, H. White, Automatic
block-length selection for the dependent bootstrap, Econometric Reviews 23(1), 2004, for circular
blocks, with the correction of A. Patton, D. N. Politis, H. White, ibid. 28(4), 2009.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log10, sqrt

import numpy as np
import numpy.typing as npt

from nvrar_bench.statistics.samples import Samples

_Series = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Blocks:
    """How to draw samples: in blocks of `length` neighbours, 1 if they are independent.

    Blocks of finite length, and few of them, vary too little: `widening` is by how much a standard
    deviation has to be multiplied.
    """

    length: int
    widening: float


def blocks_of(samples: Samples) -> Blocks:
    """Find the blocks for `samples`, shape (n,)."""
    n = len(samples)
    covariances = _autocovariances(np.sign(samples - np.median(samples)))
    reach = max(5, ceil(sqrt(log10(max(n, 2)))))
    most = min(ceil(sqrt(n)) + reach, n - 1)
    lag = _last_correlated(covariances, reach, most)
    if lag == 0:
        return Blocks(1, sqrt(n / (n - 1)) if n > 1 else 1.0)
    width = min(2 * lag, most)
    lags = np.arange(1, width + 1)
    weights = np.minimum(1.0, 2 * (1 - lags / width))  # a flat top and straight flanks
    slope = 2 * float(np.sum(weights * lags * covariances[lags]))
    spectrum = float(covariances[0] + 2 * np.sum(weights * covariances[lags]))
    longest = max(1, ceil(min(3 * sqrt(n), n / 3)))
    length = longest
    if spectrum > 0:
        best: float = (2 * slope**2 / (4 / 3 * spectrum**2) * n) ** (1 / 3)
        length = min(max(1, ceil(best)), longest)
    return Blocks(length, _widening(covariances, length, spectrum))


def _widening(covariances: _Series, length: int, spectrum: float) -> float:
    """Compare what blocks of `length` vary with `spectrum`, and n/l blocks with endless ones.

    The variance of a mean of drawn blocks is that of the autocovariances with weights that fall
    from 1 to 0 over the block; a flat top has less bias (Politis and White, as above).
    """
    n = len(covariances)
    weights = 1 - np.arange(1, length) / length
    drawn = float(covariances[0] + 2 * np.sum(weights * covariances[1:length]))
    lost = max(1.0, spectrum / drawn) if drawn > 0 else 1.0
    return sqrt(lost * n / (n - length)) if n > length else 1.0


def _autocovariances(series: _Series) -> _Series:
    """Return the autocovariance of `series`, shape (n,), at the lags 0 to n - 1."""
    n = len(series)
    spectrum = np.fft.rfft(series - series.mean(), 2 * n)
    found: _Series = np.fft.irfft(np.abs(spectrum) ** 2)[:n] / n
    return found


def _last_correlated(covariances: _Series, reach: int, most: int) -> int:
    """Return the smallest lag that `reach` insignificant ones follow, at most `most`.

    Significant is a correlation of 2 sqrt(log10(n) / n) and more.
    """
    n = len(covariances)
    if covariances[0] < 1e-12 or most < 1:  # all samples are alike
        return 0
    limit = 2 * sqrt(log10(n) / n) * covariances[0]
    significant = np.abs(covariances[1 : most + 1]) >= limit
    for lag in range(most):
        if not significant[lag : lag + reach].any():
            return lag
    return most
