"""One figure of several launches: quantiles against scipy, intervals and variances by hand."""

from math import sqrt

import numpy as np
import pytest
from scipy import stats

from nvrar_bench.statistics.independence import effective_samples
from nvrar_bench.statistics.median import median_interval
from nvrar_bench.statistics.points import (
    Launch,
    between,
    estimate,
    figure,
    within,
)


def launches(medians, noise=0.0, count=50):
    random = np.random.default_rng(11)
    return [Launch.of(m + noise * random.normal(size=count)) for m in medians]


def test_one_launch_has_the_interval_of_its_samples():
    samples = np.random.default_rng(1).normal(size=200)
    one = Launch.of(samples)
    wanted = median_interval(np.sort(samples), effective=effective_samples(samples))
    assert figure([one]).interval == wanted
    assert figure([one]).value == np.median(samples)
    assert between([one]) is None
    assert within([one]) == pytest.approx((wanted[1] - wanted[0]) / 2 / stats.norm.ppf(0.975))


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_two_to_five_launches_have_students_interval(count):
    medians = [10.0, 10.5, 9.75, 10.25, 11.0][:count]
    wanted = stats.t.interval(0.95, count - 1, np.mean(medians), stats.sem(medians))
    np.testing.assert_allclose(figure(launches(medians)).interval, wanted, rtol=1e-6)
    assert figure(launches(medians)).value == np.median(medians)


def test_no_time_is_below_zero():
    low, high = figure(launches([1.0, 2.0])).interval
    assert low == 0
    assert high > 2


@pytest.mark.parametrize("count", [6, 8, 9, 20])
def test_more_launches_have_the_interval_of_order_statistics(count):
    medians = np.random.default_rng(count).lognormal(size=count)
    assert figure(launches(medians)).interval == median_interval(np.sort(medians))


@pytest.mark.parametrize("count", [3, 4, 5])
def test_the_headline_lies_in_its_interval(count):
    random = np.random.default_rng(count)
    for medians in random.lognormal(sigma=3, size=(200, count)):
        low, high = figure(launches(medians, count=1)).interval
        assert low <= figure(launches(medians, count=1)).value <= high


def test_variation_within_and_between():
    """A one-way layout: the variance of medians is that of launches and of a median's error."""
    found = launches([10.0, 12.0, 15.0], noise=0.5, count=400)
    error = within(found)
    # The median of n normal samples has the standard error 1.2533 sigma / sqrt(n).
    assert error == pytest.approx(1.2533 * 0.5 / sqrt(400), rel=0.25)
    medians = [launch.median for launch in found]
    assert between(found) == pytest.approx(sqrt(np.var(medians, ddof=1) - error**2))


def test_launches_that_samples_explain_do_not_differ():
    found = [Launch.of(np.random.default_rng(s).normal(10, 1, size=100)) for s in (1, 1, 1)]
    assert between(found) == 0


def test_too_few_samples_for_an_interval_of_any_launch():
    few = launches([1.0, 2.0], noise=0.1, count=5)
    assert within(few) is None
    assert between(few) is None
    assert figure(few).interval is not None


def test_an_estimate_on_effective_samples():
    found = estimate(np.arange(1.0, 101.0), 25)
    assert (found.value, found.low, found.high) == (50.5, 29, 72)
