"""Effective samples against plain loops, theory, scipy and recorded samples."""

from __future__ import annotations

from math import asin, inf, pi, sqrt

import numpy as np
import pytest
from scipy import signal, stats

from nvrar_bench.statistics import independence
from nvrar_bench.statistics.independence import (
    BATCHES,
    DRIFT_FROM,
    autocorrelations,
    batch_inefficiency,
    dependence,
    effective_samples,
    inefficiency,
    slow_drift,
    startup_drift,
)
from tests.statistics.recorded import RECORDED


def autoregressive(phi, count, seed=1):
    noise = np.random.default_rng(seed).normal(size=count) * sqrt(1 - phi**2)
    noise[0] /= sqrt(1 - phi**2)
    return np.exp(signal.lfilter([1], [1, -phi], noise))


def signs_of(samples):
    middle = np.median(samples)
    return [int(x > middle) - int(x < middle) for x in samples]


def plain_autocovariances(samples):
    signs = signs_of(samples)
    mean = sum(signs) / len(signs)
    return [
        sum((a - mean) * (b - mean) for a, b in zip(signs, signs[lag:], strict=False))
        for lag in range(len(signs))
    ]


def plain_geyer(rho):
    """The initial monotone sequence estimator as its paper has it, one pair at a time."""
    total, before = -1.0, float("inf")
    for m in range(len(rho) // 2):
        pair = rho[2 * m] + rho[2 * m + 1]
        if pair <= 0:
            break
        before = min(before, pair)
        total += 2 * before
    return total


def samples_of(kind):
    random = np.random.default_rng(3)
    return {
        "normal": random.normal(size=101),
        "even": random.normal(size=100),
        "ties": random.integers(0, 4, size=90) * 1.0,
        "mostly one value": np.where(random.random(80) < 0.7, 5.0, random.normal(6, 2, size=80)),
        "following": autoregressive(0.8, 120),
        "recorded": np.array(RECORDED["follow"]),
    }[kind]


KINDS = ["normal", "even", "ties", "mostly one value", "following", "recorded"]


@pytest.mark.parametrize("kind", KINDS)
def test_autocorrelations_are_those_of_a_plain_loop(kind):
    samples = samples_of(kind)
    wanted = np.array(plain_autocovariances(samples))
    np.testing.assert_allclose(autocorrelations([samples]), wanted / wanted[0], atol=1e-12)


def test_no_lag_reaches_from_one_part_into_the_next():
    parts = [autoregressive(0.7, 60, seed) for seed in (1, 2)]
    wanted = sum(np.array(plain_autocovariances(part)) for part in parts)
    np.testing.assert_allclose(autocorrelations(parts), wanted / wanted[0], atol=1e-12)
    # A level of its own for each part is no autocorrelation.
    np.testing.assert_array_equal(
        autocorrelations([parts[0], 100 + parts[1]]), autocorrelations(parts)
    )


@pytest.mark.parametrize("kind", ["following", "recorded"])
def test_inefficiency_is_geyers_sum_of_correlations_without_their_bias(kind):
    rho = autocorrelations([samples_of(kind)])
    count = len(rho)
    first = plain_geyer(rho)
    assert first > 2
    unbiased = [
        rho[k] * count / (count - k) * (1 - first / count) + first / count
        for k in range(count // 2)
    ]
    assert inefficiency(rho, count) == pytest.approx(plain_geyer(unbiased))


def test_what_chance_makes_of_independent_samples_is_left_out():
    """Nearly nine of ten runs of independent samples are worth all their samples exactly."""
    random = np.random.default_rng(5)
    worth = np.array([effective_samples(random.normal(size=200)) / 200 for _ in range(500)])
    assert 0.75 < (worth == 1).mean() < 0.93
    assert worth.mean() > 0.9


@pytest.mark.parametrize("phi", [0.3, 0.7, 0.9, 0.97])
def test_effective_samples_of_an_autoregression(phi):
    """The signs of normal values with correlation r have correlation 2/pi asin(r)."""
    wanted = 1 + 2 * sum(2 / pi * asin(phi**k) for k in range(1, 3000))
    found = [20_000 / effective_samples(autoregressive(phi, 20_000, seed)) for seed in range(30)]
    assert np.median(found) == pytest.approx(wanted, rel=0.1)


def test_spikes_and_units_change_nothing():
    samples = autoregressive(0.6, 500)
    spiked = np.where(samples > np.quantile(samples, 0.98), 1000 * samples, samples)
    assert dependence(spiked) == dependence(samples) == dependence(samples * 1024)


def test_turns_that_differ_a_little_are_seen_though_no_single_lag_is():
    """A correlation of 0.06 at each of a hundred lags."""
    random = np.random.default_rng(2)
    found = []
    for _ in range(100):
        samples = np.repeat(random.normal(size=10), 100) * sqrt(0.1)
        found.append(effective_samples(samples + sqrt(0.9) * random.normal(size=1000)))
    # 1 + 2 x 0.064 x 49.5 = 7.3 samples for each independent one.
    assert 1000 / 7.3 * 0.5 < np.median(found) < 1000 / 7.3 * 1.5


@pytest.mark.parametrize("kind", [*KINDS[:2], "following", "recorded"])
def test_batches_against_a_plain_loop(kind):
    samples = samples_of(kind)
    signs, length = signs_of(samples), len(samples) // BATCHES
    means = [np.mean(signs[i * length : (i + 1) * length]) for i in range(BATCHES)]
    wanted = np.var(means, ddof=1) / (np.var(signs) / length)
    assert batch_inefficiency(samples) == pytest.approx(wanted)


def test_unsteady_is_chi_square_where_samples_are_independent():
    random = np.random.default_rng(9)
    found = [batch_inefficiency(random.normal(size=1000)) for _ in range(1000)]
    assert np.mean(found) == pytest.approx(1, abs=0.06)
    assert np.mean(np.array(found) > stats.chi2.ppf(0.95, 9) / 9) == pytest.approx(0.05, abs=0.025)


def test_constants_are_points_of_their_distributions():
    assert pytest.approx(stats.norm.ppf(0.9), abs=1e-4) == independence._CHANCE
    wanted = stats.chi2.ppf(0.95, BATCHES - 1) / (BATCHES - 1)
    assert pytest.approx(wanted, abs=1e-4) == independence._BATCH_CHANCE


def test_alternating_samples_are_worth_no_more_than_their_number():
    samples = np.tile([1.0, 2.0], 100)
    assert effective_samples(samples) == 200
    assert dependence(samples).lag1 == pytest.approx(-1, abs=0.01)
    assert effective_samples(RECORDED["alternate"]) == 300
    assert dependence(RECORDED["alternate"]).lag1 < -0.3


def test_few_samples_and_equal_ones_count_as_independent():
    assert (effective_samples([1.0]), dependence([1.0]).lag1) == (1, None)
    rising = list(map(float, range(9)))
    assert (effective_samples(rising), dependence(rising).lag1) == (9, None)
    assert (effective_samples([5.0] * 100), dependence([5.0] * 100).lag1) == (100, None)


@pytest.mark.parametrize("count", [10, 11, 49, 50, 1000])
def test_effective_samples_are_1_to_n(count):
    random = np.random.default_rng(count)
    for samples in (np.arange(count), random.normal(size=count), random.integers(0, 2, count)):
        assert 1 <= effective_samples(samples) <= count
    # Half of the samples below, then half above: one sample, or hardly more.
    assert effective_samples(np.arange(count)) < max(4, count / 20)


def test_recorded_samples():
    worth = {name: effective_samples(samples) for name, samples in RECORDED.items()}
    assert worth["follow"] < 25
    assert 120 < worth["steady"] < 250


def test_relative_is_the_difference_of_medians_over_the_median():
    samples = np.concatenate([np.full(10, 15.0), np.full(45, 10.0), np.full(45, 12.0)])
    assert startup_drift(samples).relative == pytest.approx((15 - 11) / 12)
    assert slow_drift(samples).relative == pytest.approx((12 - 10) / 12)


def test_scores_of_independent_samples_are_those_of_the_median_test():
    """The chi-square of a 2 x 2 table is the square of the score, for halves of one median."""
    random = np.random.default_rng(4)
    seen = 0
    for _ in range(50):
        samples = random.normal(size=200)
        rest = samples[20:]
        chi_square = stats.median_test(rest[:90], rest[90:], correction=False).statistic
        score = slow_drift(samples).score
        # Correlated halves make the score smaller; most are not.
        assert score**2 <= chi_square + 1e-9
        seen += score**2 == pytest.approx(chi_square)
    assert seen > 35


def test_the_start_is_held_against_the_median_of_the_rest():
    samples = np.concatenate([np.full(20, 2.0), np.random.default_rng(0).random(180)])
    assert startup_drift(samples).score == pytest.approx(1 / sqrt(1 / 20 + 1 / 180), rel=1e-9)


@pytest.mark.parametrize("phi", [0, 0.5])
@pytest.mark.parametrize(("drift", "critical"), [(startup_drift, 2.576), (slow_drift, 3.0)])
def test_false_alarms(drift, critical, phi):
    """1 in 100, of samples that follow each other too."""
    alarms = [abs(drift(autoregressive(phi, 200, seed)).score) > critical for seed in range(400)]
    assert sum(alarms) <= stats.binom.ppf(0.999, 400, 0.01)


def test_a_start_and_a_step_are_found_in_noise():
    random = np.random.default_rng(6)
    noise = np.exp(0.1 * random.normal(size=(100, 300)))
    spikes = np.where(random.random(noise.shape) < 0.02, 1000, 1)
    start = [startup_drift(x).score for x in noise * spikes * np.where(np.arange(300) < 30, 1.2, 1)]
    step = [slow_drift(x).score for x in noise * spikes * np.where(np.arange(300) < 150, 1, 0.9)]
    assert min(start) > 2.576
    assert np.mean(np.array(step) < -3) > 0.95


def test_where_nothing_varies_a_difference_is_no_chance():
    assert startup_drift([2.0] * 10 + [1.0] * 90).score == inf
    assert startup_drift([1.0] * 100).score == 0
    assert slow_drift([1.0] * 100).relative == 0


def test_too_few_samples():
    assert startup_drift([1.0] * (DRIFT_FROM - 1)) is None
    assert slow_drift([1.0] * (DRIFT_FROM - 1)) is None
    assert startup_drift([1.0] * DRIFT_FROM) is not None


def test_recorded_samples_that_start_slowly():
    found = startup_drift(RECORDED["start"])
    assert found.score > 3
    assert 0.2 < found.relative < 0.3
    assert abs(startup_drift(RECORDED["steady"]).score) < 2.576
    assert abs(slow_drift(RECORDED["steady"]).score) < 2.576
