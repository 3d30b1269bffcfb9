"""The one quantile of Student's t distribution that a 95 % interval needs."""

from __future__ import annotations

from functools import lru_cache
from math import exp, lgamma, pi, sqrt

import numpy as np

NORMAL_975 = 1.959963984540054
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)
_EXPANDED_FROM = 1e4  # degrees of freedom


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
    low, high = 1.9, 13.0  # f = 1: 12.706; f without bound: 1.96
    for _ in range(50):
        middle = (low + high) / 2
        angle = np.arctan(middle / sqrt(freedom))
        values = np.cos((_NODES + 1) / 2 * angle) ** (freedom - 1)
        below = float(_WEIGHTS @ values) * angle / 2 / whole
        low, high = (middle, high) if below < 0.95 else (low, middle)
    return (low + high) / 2
