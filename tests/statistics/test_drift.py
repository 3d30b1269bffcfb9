"""Shifts between parts of a run, against plain computations and scipy's median test."""

from math import inf, sqrt

import numpy as np
import pytest
from scipy import stats

from nvrar_bench.statistics.independence import DRIFT_FROM, slow_drift, startup_drift
from tests.statistics.recorded import RECORDED
from tests.statistics.test_independence import autoregressive


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


def test_recorded_samples():
    found = startup_drift(RECORDED["start"])
    assert found.score > 3
    assert 0.2 < found.relative < 0.3
    assert abs(startup_drift(RECORDED["steady"]).score) < 2.576
    assert abs(slow_drift(RECORDED["steady"]).score) < 2.576
