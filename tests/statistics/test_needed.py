"""So many launches decide what is undecided, and one less does not."""

from __future__ import annotations

from math import log, sqrt

import numpy as np
import pytest
from scipy import stats

from nvrar_bench.statistics.bootstrap import Spread
from nvrar_bench.statistics.points import points_of
from nvrar_bench.statistics.verdicts import MOST, Terms, judge, launches_needed
from tests.statistics.records import launches, pair_of, record, result


def spread(deviation: float, launches: int) -> Spread:
    """The median of so many launches that differ by `deviation`, in logarithms."""
    values = np.tile([-1.0, 1.0], 1000) * deviation / sqrt(launches)
    return Spread(10.0, 10.0, values, float(launches - 1))


def reach(deviation: float, launches: int) -> float:
    """Half of the interval of two such runs' ratio, and what that differs by in 4 of 5 cases."""
    quantiles = stats.t.ppf(0.975, 2 * launches - 2) + stats.norm.ppf(0.8)
    return float(quantiles * sqrt(2 / launches) * deviation)


@pytest.mark.parametrize("ratio", [0.8, 0.98, 1.0, 1.03, 1.08, 1.5])
@pytest.mark.parametrize("deviation", [0.05, 0.2])
def test_the_interval_of_so_many_launches_crosses_no_border(ratio: float, deviation: float) -> None:
    limit = log(1.05)
    needed = launches_needed((spread(deviation, 3),) * 2, (3, 3), ratio, Terms(0.05, 0.3))
    room = min(abs(log(ratio) - limit), abs(log(ratio) + limit))
    if needed is None:
        assert reach(deviation, MOST) > room
        return
    assert reach(deviation, needed) < room
    assert needed == 4 or reach(deviation, needed - 1) > room


def test_what_lies_at_the_threshold_is_never_decided() -> None:
    assert launches_needed((spread(0.1, 5),) * 2, (5, 5), 1.05, Terms(0.05, 0.3)) is None


def test_of_one_launch_the_spread_of_launches_is_what_the_option_says() -> None:
    alone = Spread(10.0, 10.0, np.zeros(2000), 9.0)
    deviation = log(1.3) / stats.norm.ppf(0.975) / sqrt(2)
    needed = launches_needed((alone, alone), (1, 1), 1.0, Terms(0.05, 0.3))
    assert needed is not None
    assert reach(deviation, needed) < log(1.05) < reach(deviation, needed - 1)


def test_so_many_launches_do_decide() -> None:
    """Runs of as many launches as are asked for are decided in most cases."""
    generator = np.random.default_rng(4)
    kind = {"length": 40, "noise": 0.01, "between": 0.06}
    few = result(launches(generator, 4, **kind)), result(launches(generator, 4, **kind))
    (key,) = points_of(record(few[0]))
    point = judge(key, pair_of(*few), Terms())
    assert point.verdict == "undecided"
    assert point.launches_needed is not None
    decided = []
    for _ in range(10):
        many = [result(launches(generator, point.launches_needed, **kind)) for _ in range(2)]
        decided.append(judge(key, pair_of(*many), Terms()).verdict != "undecided")
    assert np.mean(decided) >= 0.7
