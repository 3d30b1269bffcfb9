"""Blocks, against the same formulas written out in loops."""

from __future__ import annotations

from math import ceil, log10, sqrt
from statistics import median

import numpy as np
import pytest

from nvrar_bench.statistics.bootstrap import blocks_of
from tests.statistics.records import launches


def autoregression(correlation: float, length: int = 400, seed: int = 1) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return launches(generator, 1, length, correlation=correlation)[0]


def expected(samples: list[float]) -> tuple[int, float]:
    """Politis and White's length, and the widening of docs/method.md, in plain Python."""
    n, middle = len(samples), median(samples)
    signs = [(x > middle) - (x < middle) for x in samples]
    mean = sum(signs) / n
    r = [sum((signs[i] - mean) * (signs[i + k] - mean) for i in range(n - k)) / n for k in range(n)]
    reach = max(5, ceil(sqrt(log10(n))))
    most = min(ceil(sqrt(n)) + reach, n - 1)
    big = [k for k in range(1, most + 1) if abs(r[k]) >= 2 * sqrt(log10(n) / n) * r[0]]
    lag = next((m for m in range(most) if not set(range(m + 1, m + reach + 1)) & set(big)), most)
    if lag == 0:
        return 1, sqrt(n / (n - 1))
    width = min(2 * lag, most)

    def flat_top(k: int) -> float:
        return 1.0 if abs(k) / width <= 0.5 else 2 * (1 - abs(k) / width)

    slope = sum(flat_top(k) * abs(k) * r[abs(k)] for k in range(-width, width + 1))
    spectrum = sum(flat_top(k) * r[abs(k)] for k in range(-width, width + 1))
    longest = ceil(min(3 * sqrt(n), n / 3))
    best = ceil((2 * slope**2 / (4 / 3 * spectrum**2)) ** (1 / 3) * n ** (1 / 3))
    length = longest if spectrum <= 0 else min(max(1, best), longest)
    drawn = sum((1 - abs(k) / length) * r[abs(k)] for k in range(1 - length, length))
    return length, sqrt(max(1, spectrum / drawn) * n / (n - length))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.6, 0.9, 0.98, -0.6])
def test_length_and_widening_are_those_of_the_formulas(correlation: float, seed: int) -> None:
    samples = autoregression(correlation, 150 + 37 * seed, seed)
    found = blocks_of(samples)
    length, widening = expected([float(x) for x in samples])
    assert found.length == length
    assert found.widening == pytest.approx(widening, rel=1e-9)


def test_independent_samples_are_drawn_one_by_one() -> None:
    lengths = [blocks_of(autoregression(0, seed=seed)).length for seed in range(20)]
    assert lengths.count(1) >= 16


def test_blocks_grow_with_the_correlation() -> None:
    means = [
        np.mean([blocks_of(autoregression(c, seed=seed)).length for seed in range(10)])
        for c in (0.0, 0.5, 0.8, 0.95)
    ]
    assert means == sorted(means)
    assert means[-1] > 5 * means[0]


def test_what_moves_far_out_does_not_count() -> None:
    """A median does not see how far away its outliers are."""
    samples = autoregression(0.8)
    far = np.where(samples > np.quantile(samples, 0.9), samples * 1000, samples)
    assert blocks_of(far) == blocks_of(samples)


@pytest.mark.parametrize("samples", [[5.0], [5.0, 6.0], [5.0] * 9, [5.0, 5.0, 9.0]])
def test_few_samples_or_equal_ones(samples: list[float]) -> None:
    assert blocks_of(np.array(samples)).length == 1


def test_a_drift_makes_long_blocks() -> None:
    found = blocks_of(np.arange(90.0))
    assert found.length > sqrt(90)
    assert found.widening > 1.2
