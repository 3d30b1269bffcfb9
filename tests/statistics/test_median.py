"""Intervals and percentiles against scipy and NumPy, and the interval's promise by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from nvrar_bench.errors import NvrarBenchError
from nvrar_bench.statistics.median import (
    NORMAL_975,
    Estimate,
    algbw,
    busbw,
    median_interval,
    percentile,
    ratio,
    t_975,
)


def depth_by_scipy(count):
    """The largest d whose interval from d-th smallest to d-th largest is confident enough."""
    depths = np.arange(1, count // 2 + 1)
    coverage = 1 - 2 * stats.binom.cdf(depths - 1, count, 0.5)
    return int((coverage >= 0.95).sum())


def test_median_interval_is_the_narrowest_confident_pair_of_order_statistics():
    for count in [*range(1, 200), 1000, 9999, 20_000]:
        depth = depth_by_scipy(count)
        wanted = (depth, count + 1 - depth) if depth else None
        assert median_interval(np.arange(1, count + 1)) == wanted


def test_median_interval_of_a_published_table():
    """D. B. Owen's ranks, as given in W. J. Conover's table of 95 % intervals for the median."""
    ranks = {6: (1, 6), 9: (2, 8), 10: (2, 9), 12: (3, 10), 15: (4, 12), 20: (6, 15), 30: (10, 21)}
    assert {n: median_interval(range(1, n + 1)) for n in ranks} == ranks


def test_median_interval_needs_six_samples():
    assert median_interval([1.0] * 5) is None
    assert median_interval([1.0] * 6) == (1.0, 1.0)


@pytest.mark.parametrize("count", [7, 25, 100])
def test_coverage_of_the_median_interval(count):
    """Lognormal, as latencies are: the interval must cover as often as the binomial says."""
    runs = 4000
    samples = np.sort(np.random.default_rng(7).lognormal(size=(runs, count)), axis=1)
    intervals = np.array([median_interval(run) for run in samples])
    covered = ((intervals[:, 0] <= 1) & (intervals[:, 1] >= 1)).mean()
    exact = 1 - 2 * stats.binom.cdf(depth_by_scipy(count) - 1, count, 0.5)
    assert exact >= 0.95
    assert abs(covered - exact) < 4 * np.sqrt(exact * (1 - exact) / runs)


def test_effective_samples_widen_the_interval_by_the_root_of_their_lack():
    """Places 40 and 61 of 100 are 10.5 from the middle; four samples for each make that 21."""
    places = np.arange(1, 101)
    assert median_interval(places) == (40, 61) == median_interval(places, effective=100)
    assert median_interval(places, effective=25) == (29, 72)  # 50.5 - 21, rounded down
    assert median_interval(places, effective=99.999)[0] == 39
    widths = [np.ptp(median_interval(places, effective=e)) for e in (6, 7, 10, 50, 99, 100)]
    assert widths == sorted(widths, reverse=True)


def test_an_interval_needs_six_effective_samples_too():
    assert median_interval(range(100), effective=5.9) is None
    assert median_interval(range(100), effective=6) is not None
    # What the extremes of few samples do not reach.
    assert median_interval(range(10), effective=6) is None


@pytest.mark.parametrize("count", [1, 2, 19, 20, 21, 99, 100, 101, 1000])
@pytest.mark.parametrize("percent", [0, 5, 50, 95, 99, 100])
def test_percentile_is_the_first_sample_that_enough_do_not_exceed(count, percent):
    ordered = np.sort(np.random.default_rng(count).normal(size=count))
    place = next(k for k in range(1, count + 1) if 100 * k >= percent * count)
    assert percentile(ordered, percent) == ordered[place - 1]


def test_bandwidths_of_nccl_tests():
    assert algbw(2**30, 0.5) == 2**31
    assert busbw(1000, 0.001, 2) == 1e6
    assert busbw(1000, 0.001, 8) == pytest.approx(1.75e6, rel=1e-15)
    assert busbw(1000, 0.001, 1) == 0


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_no_bandwidth_without_time(seconds):
    with pytest.raises(NvrarBenchError, match="above 0"):
        algbw(1, seconds)


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


@pytest.mark.parametrize("freedom", [1, 1.0001, 1.5, 2, 3.7, 9, 25, 199, 9999, 10001, 1e6, 1e12])
def test_the_quantile_is_that_of_scipy(freedom: float) -> None:
    assert t_975(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-9)


def test_without_bound_it_is_the_normal_one() -> None:
    assert t_975(np.inf) == pytest.approx(stats.norm.ppf(0.975), rel=1e-15) == NORMAL_975
