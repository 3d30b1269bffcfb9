"""The interval of a ratio of two medians."""

from __future__ import annotations

import numpy as np
import pytest

from nvrar_bench.statistics.median import Estimate, median_interval, ratio


def test_of_one_that_is_known_it_is_as_wide_as_the_others() -> None:
    found = ratio(Estimate(20.0, 18.0, 24.0), Estimate(10.0, 10.0, 10.0))
    assert (found.value, found.low, found.high) == pytest.approx((2.0, 1.8, 2.4))
    found = ratio(Estimate(10.0, 10.0, 10.0), Estimate(20.0, 16.0, 25.0))
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.4, 0.625))


def test_errors_add_as_independent_ones_do() -> None:
    low, high = 100 * np.exp(-0.03), 100 * np.exp(0.03)
    other = Estimate(100.0, float(100 * np.exp(-0.04)), float(100 * np.exp(0.04)))
    found = ratio(Estimate(100.0, float(low), float(high)), other)
    assert found.low == pytest.approx(np.exp(-0.05))
    assert found.high == pytest.approx(np.exp(0.05))


@pytest.mark.parametrize("bad", [Estimate(1.0, None, None), Estimate(1.0, 0.0, 2.0)])
def test_there_is_none_without_both_intervals(bad: Estimate) -> None:
    good = Estimate(2.0, 1.0, 3.0)
    for found in (ratio(bad, good), ratio(good, bad)):
        assert (found.low, found.high, found.half_width) == (None, None, None)


@pytest.mark.parametrize("count", [20, 200])
def test_it_holds_the_true_ratio_as_often_as_it_says(count: int) -> None:
    """Of log-normal samples with tails, whose medians are 3 apart; 1000 trials."""
    random = np.random.default_rng(5)
    held = 0
    for _ in range(1000):
        found = ratio(*(_estimate(scale, count, random) for scale in (3.0, 1.0)))
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 3.0 <= found.high
    assert 940 <= held <= 990


def _estimate(scale: float, count: int, random: np.random.Generator) -> Estimate:
    samples = np.sort(scale * np.exp(0.3 * random.standard_t(3, count)))
    interval = median_interval(samples)
    assert interval is not None
    return Estimate(float(np.median(samples)), *interval)
