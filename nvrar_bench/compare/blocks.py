"""How long the blocks must be in which neighbouring samples are drawn together.

A median moves by how many samples lie above it, so what counts is the autocorrelation of the signs
of the samples about their median. The length is that of D. N. Politis, H. White, Automatic
block-length selection for the dependent bootstrap, Econometric Reviews 23(1), 2004, for circular
blocks, with the correction of A. Patton, D. N. Politis, H. White, ibid. 28(4), 2009.
"""

from __future__ import annotations

from math import ceil, log10, sqrt

import numpy as np
import numpy.typing as npt

from nvrar_bench.compare.samples import Samples

_Series = npt.NDArray[np.float64]


def block_length(samples: Samples) -> int:
    """Return how many neighbours of `samples`, shape (n,), belong together: 1 if independent."""
    n = len(samples)
    covariances = _autocovariances(np.sign(samples - np.median(samples)))
    reach = max(5, ceil(sqrt(log10(max(n, 2)))))
    most = min(ceil(sqrt(n)) + reach, n - 1)
    lag = _last_correlated(covariances, reach, most)
    if lag == 0:
        return 1
    width = min(2 * lag, most)
    lags = np.arange(1, width + 1)
    weights = np.minimum(1.0, 2 * (1 - lags / width))  # a flat top and straight flanks
    slope = 2 * float(np.sum(weights * lags * covariances[lags]))
    spectrum = float(covariances[0] + 2 * np.sum(weights * covariances[lags]))
    longest = max(1, ceil(min(3 * sqrt(n), n / 3)))
    if spectrum <= 0:
        return longest
    length: float = (2 * slope**2 / (4 / 3 * spectrum**2) * n) ** (1 / 3)
    return min(max(1, ceil(length)), longest)


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
