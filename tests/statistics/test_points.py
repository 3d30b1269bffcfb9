"""Which results belong together; those at the same point are told apart by their order."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from documents.samples import RESULT
from msgspec.structs import replace
from scipy import stats

from nvrar_bench.documents.comparison import PointKey
from nvrar_bench.statistics.independence import effective_samples
from nvrar_bench.statistics.median import median_interval
from nvrar_bench.statistics.points import (
    POINT,
    Launch,
    between,
    estimate,
    figure,
    numbered,
    point_of,
    points_of,
    within,
)
from tests.statistics.records import record, result

STEADY = [[10.0] * 10]


def test_a_point_is_what_results_are_matched_by() -> None:
    assert dict(zip(POINT, point_of(RESULT), strict=True))["size_bytes"] == 4096
    assert point_of(replace(RESULT, warmup=99)) == point_of(RESULT)
    assert point_of(replace(RESULT, variant="x")) != point_of(RESULT)


def test_items_of_the_same_key_are_numbered() -> None:
    assert list(numbered("abaab", str.upper)) == [
        (0, "a"), (0, "b"), (1, "a"), (2, "a"), (1, "b"),
    ]  # fmt: skip
    assert list(numbered([], str)) == []


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("backend", "mpi"), ("variant", "packet"), ("device", "cuda"), ("buffers", "private"),
        ("dtype", "int8"), ("op", "max"), ("placement", "in_place"), ("size_bytes", 8),
        ("count", 7),
    ],
)  # fmt: skip
def test_every_part_of_the_case_makes_another_point(name: str, other: object) -> None:
    one, changed = result(STEADY), result(STEADY, **{name: other})
    keys = list(points_of(record(one, changed)))
    assert len(keys) == 2
    assert getattr(keys[1], name) == other
    assert [key.repeat for key in keys] == [0, 0]


def test_what_was_measured_makes_no_other_point() -> None:
    slower = result([[20.0] * 9], warmup=9, stop_reason="precision", warnings=("w",))
    assert list(points_of(record(result(STEADY)))) == list(points_of(record(slower)))


def test_the_same_point_again_is_the_second() -> None:
    first, other, second = result(STEADY), result(STEADY, 8), result([[9.0] * 10])
    points = points_of(record(first, other, second))
    assert [key.repeat for key in points] == [0, 0, 1]
    assert list(points.values()) == [first, other, second]


def test_a_point_has_a_name() -> None:
    key = PointKey(
        "nvrar", "signal", "cpu", "private", "int8", "max", "in_place", 131072, 131072, 1
    )
    assert str(key) == (
        "nvrar signal at 128K #2 (131072 elements), int8 max, in place, private buffers, cpu"
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
