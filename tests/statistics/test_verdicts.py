"""Verdicts: at their borders, and how often they are right."""

from __future__ import annotations

from math import log, sqrt

import numpy as np
import pytest
from scipy import stats

from nvrar_bench.documents.comparison import VERDICTS, ComparedPoint
from nvrar_bench.documents.result import Result, Stretch
from nvrar_bench.statistics.bootstrap import Spread, ratio_interval, spread_of
from nvrar_bench.statistics.comparison import compare
from nvrar_bench.statistics.points import points_of
from nvrar_bench.statistics.verdicts import MOST, Terms, judge, launches_needed, verdict
from tests.statistics.records import FAILED, SLOW, TWICE, launches, pair_of, record, result, states

STEADY = [[10.0] * 10]


@pytest.mark.parametrize(
    ("low", "high", "threshold", "said"),
    [
        (1.0500001, 1.2, 0.05, "slower"),
        (1.05, 1.2, 0.05, "undecided"),
        (0.8, 1 / 1.05 - 1e-7, 0.05, "faster"),
        (0.8, 1 / 1.05, 0.05, "undecided"),
        (1 / 1.05, 1.05, 0.05, "same"),
        (1 / 1.05 - 1e-7, 1.05, 0.05, "undecided"),
        (1 / 1.05, 1.05 + 1e-7, 0.05, "undecided"),
        (0.5, 2.0, 1.0, "same"),
        (1.01, 1.02, 0.0, "slower"),
        (0.98, 0.99, 0.0, "faster"),
        (1.0, 1.0, 0.0, "same"),
        (0.99, 1.01, 0.0, "undecided"),
    ],
)
def test_the_interval_decides(low: float, high: float, threshold: float, said: str) -> None:
    assert verdict(low, high, threshold) == said
    assert said in VERDICTS


def judged(
    base: Result, new: Result, threshold: float = 0.05, one_state: bool = False
) -> ComparedPoint:
    (key,) = points_of(record(base))
    terms = Terms(threshold, launch_spread=0.0, one_state=one_state)
    return judge(key, pair_of(base, new, one_state), terms)


def test_medians_ratio_and_interval_of_known_samples() -> None:
    point = judged(result(STEADY), result([[11.0] * 10]))
    assert (point.base.median_us, point.new.median_us) == (10.0, 11.0)
    assert (point.ratio, point.low, point.high, point.verdict) == (1.1, 1.1, 1.1, "slower")


def test_the_figure_is_the_median_of_the_launches_medians_as_in_the_table() -> None:
    runs = [[10.0, 11.0, 30.0], [12.0] * 9, [20.0, 20.0, 20.0, 26.0]]
    point = judged(result(runs), result(STEADY))
    assert (point.base.median_us, point.base.launches, point.base.samples) == (12.0, 3, 16)
    assert point.ratio == round(10 / 12, 6)
    assert point.low is not None
    assert point.low <= point.ratio <= (point.high or 0)


@pytest.mark.parametrize(
    ("base_us", "new_us", "said"),
    [
        (3.0, 3.14, "slower"),
        (3.0, 3.16, "undecided"),
        (3.16, 3.0, "undecided"),
        (3.0, None, "slower"),
        (None, 3.0, "slower"),
    ],
)
def test_in_another_state_of_the_machine_nothing_is_decided(base_us, new_us, said) -> None:
    base = result(STEADY, stretches=states(STEADY, base_us))
    new = result(SLOW[:1], stretches=states(SLOW[:1], new_us))
    assert judged(base, new, one_state=True).verdict == said
    assert judged(base, new).verdict == "slower"


def test_with_one_state_launches_in_another_are_left_out() -> None:
    """The slow state of the base would hide that the new run is slower in the fast one."""
    runs = [*STEADY, [30.0] * 10, *STEADY]
    mixed = result(runs, stretches=states(runs, 3.0, 4.0, 3.1))
    slower = result(SLOW, stretches=states(SLOW, 3.05, 3.05))
    point = judged(mixed, slower, one_state=True)
    assert (point.ratio, point.verdict) == (1.2, "slower")
    assert (point.base.launches, point.base.left_out, point.base.samples) == (2, 10, 20)
    assert (point.new.launches, point.new.left_out) == (2, 0)
    everything = judged(mixed, slower)
    assert everything.verdict == "undecided"
    assert (everything.base.launches, everything.base.left_out) == (3, 0)


def test_with_one_state_stretches_in_another_are_left_out_of_a_launch() -> None:
    runs = [[10.0] * 20 + [30.0] * 40] * 2
    calm, busy = Stretch(20, 0.1, 2.0, 3.0), Stretch(40, 0.1, 2.0, 4.0)
    mixed = result(runs, stretches=(calm, busy) * 2, late=(0, 60))
    slower = result(SLOW, stretches=states(SLOW, 3.0, 3.0))
    point = judged(mixed, slower, one_state=True)
    assert (point.ratio, point.verdict) == (1.2, "slower")
    assert (point.base.launches, point.base.left_out, point.base.samples) == (2, 80, 38)


def test_one_launch_in_the_common_state_cannot_tell_how_launches_differ() -> None:
    runs = [*STEADY, [30.0] * 10]
    mixed = result(runs, stretches=states(runs, 3.0, 4.0))
    slower = result(SLOW, stretches=states(SLOW, 3.0, 3.0))
    pair = pair_of(mixed, slower, one_state=True)
    assert (pair.base.has_one_launch, pair.new.has_one_launch) == (True, False)
    assert judge(next(iter(points_of(record(mixed)))), pair, Terms()).verdict == "undecided"


def test_what_is_left_out_is_told() -> None:
    runs = [*TWICE, [30.0] * 10]
    base = record(
        result(runs, stretches=states(runs, 3.0, 3.0, 4.0)),
        result(TWICE, 8, stretches=states(TWICE, 3.0, 3.0)),
    )
    new = record(
        result(TWICE, stretches=states(TWICE, 3.0, 3.0)),
        result(TWICE, 8, stretches=states(TWICE, 4.5, 4.6)), run_id="b" * 32,
    )  # fmt: skip
    (one,) = compare(("a", base), [("b", new)], Terms(one_state=True), 0).comparisons
    assert [point.verdict for point in one.points] == ["same", "undecided"]
    assert one.notes == (
        "samples of base found the machine at another speed and are left out: up to 33% of a point",
        "at 1 of 2 points few launches of base ran at the common speed, 2 of 3 at least: "
        "intervals are wide there; use --max-launches",
        "at 1 of 2 points the machine ran at other speeds in base and new (flag 0.1, copy 2, work "
        "3 us in base, flag 0.1, copy 2, work 4.55 us in new); measure again, or compare without "
        "--one-state",
    )


def test_a_machine_in_no_state_for_long_is_in_no_other_state_either() -> None:
    runs = [[10.0] * 100]
    restless = tuple(Stretch(1, 0.1, 2.0, 3.0 * 1.2**i) for i in range(100))
    base, new = result(runs, stretches=restless), result([[30.0] * 100], stretches=restless)
    assert not pair_of(base, new, one_state=True).apart
    assert judged(base, new, one_state=True).verdict == "slower"


def test_a_difference_that_may_be_the_machines_is_told() -> None:
    base = record(
        result(TWICE, stretches=states(TWICE, 3.0, 3.0)),
        result(TWICE, 8, stretches=states(TWICE, 3.0, 3.0)),
    )
    new = record(
        result(SLOW, stretches=states(SLOW, 4.5, 4.6)),
        result(TWICE, 8, stretches=states(TWICE, 4.5, 4.6)), run_id="b" * 32,
    )  # fmt: skip
    (one,) = compare(("a", base), [("b", new)], Terms(), 0).comparisons
    assert [point.verdict for point in one.points] == ["slower", "same"]
    assert one.notes == (
        "the machine itself changed speed at 1 of 2 points that are not the same (flag 0.1, copy "
        "2, work 3 us in base, flag 0.1, copy 2, work 4.55 us in new); --one-state compares only "
        "samples of equal speed",
    )


@pytest.mark.parametrize(
    ("base", "new", "spread", "said"),
    [
        (STEADY, [[13.7] * 10], 0.3, "slower"),  # 1.37 / 1.3 = 1.054
        (STEADY, [[13.6] * 10], 0.3, "undecided"),
        ([[13.7] * 10], STEADY, 0.3, "faster"),
        ([[13.6] * 10], STEADY, 0.3, "undecided"),
        (STEADY, STEADY, 0.3, "undecided"),
        (STEADY, STEADY, 0.04, "same"),
        ([[10.0] * 10] * 6, [[13.6] * 10], 0.3, "undecided"),
        ([[10.0] * 10] * 6, [[13.6] * 10] * 6, 0.3, "slower"),
    ],
)
def test_a_run_of_one_launch_cannot_tell_how_launches_differ(base, new, spread, said) -> None:
    key = next(iter(points_of(record(result(base)))))
    pair = pair_of(result(base), result(new))
    assert judge(key, pair, Terms(0.05, spread)).verdict == said


def test_late_samples_do_not_count() -> None:
    spoiled = result([[10.0] * 10, [10.0] * 10 + [900.0] * 11], late=tuple(range(20, 31)))
    point = judged(result(STEADY), spoiled)
    assert (point.new.median_us, point.new.samples, point.verdict) == (10.0, 20, "same")


def test_a_launch_of_late_samples_alone_is_left_out() -> None:
    part = result([[99.0] * 3, [10.0] * 10], late=(0, 1, 2))
    assert judged(result(STEADY), part).verdict == "same"


def test_a_launch_without_samples_tells_nothing_of_how_launches_differ() -> None:
    part = result([[99.0] * 3, *STEADY], late=(0, 1, 2))
    (key,) = points_of(record(part))
    slower = result([[13.6] * 10] * 6)
    assert judge(key, pair_of(part, slower), Terms()).verdict == "undecided"
    assert judge(key, pair_of(part, slower), Terms(launch_spread=0.0)).verdict == "slower"


@pytest.mark.parametrize(
    ("launches_us", "late", "problem"),
    [
        ([[10.0] * 5], (), "fewer than 6 samples"),
        ([[0.0005] + [10.0] * 9], (), "samples shorter than 1 ns"),
        ([[10.0] * 10], tuple(range(9)), "fewer than 6 samples"),
    ],
)
def test_without_an_interval_there_is_no_verdict(
    launches_us: list[list[float]], late: tuple[int, ...], problem: str
) -> None:
    odd = result(launches_us, late=late)
    for point in (judged(result(STEADY), odd), judged(odd, result(STEADY))):
        assert (point.ratio, point.low, point.high, point.verdict) == (
            None,
            None,
            None,
            "undecided",
        )
    side = pair_of(odd, odd).base
    assert side.problem == problem
    assert side.measured.low_us is None


def test_a_wrong_result_has_no_speed() -> None:
    right, wrong = result(STEADY), result(STEADY, check=FAILED)
    for point in (judged(right, wrong), judged(wrong, right)):
        assert (point.ratio, point.verdict) == (None, "wrong")


def test_a_run_against_itself_is_the_same() -> None:
    one = result(launches(np.random.default_rng(1), 3, 100))
    point = judged(one, one)
    assert (point.ratio, point.verdict) == (1.0, "same")
    assert point.low is not None
    assert point.low < 1


def verdicts(slower: float, points: int, count: int, length: int, noise: float) -> list[str]:
    generator = np.random.default_rng(12)
    found = []
    for _ in range(points):
        base = result(launches(generator, count, length, noise=noise))
        new = result(launches(generator, count, length, noise=noise, median=10 * slower))
        found.append(judged(base, new).verdict)
    return found


@pytest.mark.parametrize("count", [1, 3])
def test_equal_runs_are_seldom_told_apart(count: int) -> None:
    found = verdicts(1.0, 100, count, 50, 0.01)
    assert found.count("slower") + found.count("faster") <= 5
    assert found.count("same") >= 90


@pytest.mark.parametrize(("count", "length", "noise"), [(1, 200, 0.08), (5, 100, 0.09)])
def test_a_slow_down_of_a_tenth_is_found(count: int, length: int, noise: float) -> None:
    """With intervals of the ratio of about 2 % to each side."""
    generator = np.random.default_rng(3)
    kind = {"count": count, "length": length, "noise": noise}
    halves = []
    for _ in range(20):
        spreads = [spread_of(launches(generator, **kind), np.random.default_rng(i)) for i in (0, 1)]
        found = ratio_interval(*spreads)
        halves.append((found.high - found.low) / 2)
    assert np.mean(halves) == pytest.approx(0.02, rel=0.25)
    assert verdicts(1.1, 100, count, length, noise).count("slower") >= 95


@pytest.mark.parametrize("one_state", [False, True])
@pytest.mark.parametrize(
    "runs",
    [
        STEADY,
        [[10.0] * 3],
        [[10.0, 30.0] * 10],
        [[0.0004] * 10],
        [[10.0] * 20, [30.0] * 20, [90.0] * 20],
    ],
)
def test_a_record_beside_itself_is_the_same(runs: list[list[float]], one_state: bool) -> None:
    """Whatever the machine did, and however few samples there are."""
    work = [3.0 * 1.3**i for i in range(len(runs))]
    one = record(
        result(runs, stretches=states(runs, *work)),
        result(runs, 8, late=tuple(range(sum(map(len, runs))))),
    )
    (found,) = compare(("a", one), [("b", one)], Terms(one_state=one_state), 0).comparisons
    assert [point.verdict for point in found.points] == ["same", "same"]
    assert {(point.ratio, point.low, point.high) for point in found.points} == {(1.0, 1.0, 1.0)}
    assert found.notes == (
        "new is the same run as base: the samples are the same, and so is every figure",
    )


def test_the_same_samples_of_another_run_are_no_proof() -> None:
    """Two samples of a clock with coarse steps may agree by chance."""
    base, new = record(result([[3.2] * 2])), record(result([[3.2] * 2]), run_id="b" * 32)
    (found,) = compare(("a", base), [("b", new)], Terms(), 0).comparisons
    assert found.points[0].verdict == "undecided"


def test_another_run_under_the_same_id_is_judged_by_its_samples() -> None:
    base, new = record(result(TWICE)), record(result(SLOW))
    (found,) = compare(("a", base), [("b", new)], Terms(), 0).comparisons
    assert found.points[0].verdict == "slower"


@pytest.mark.parametrize("one_state", [False, True])
def test_three_times_as_long_is_slower_with_20_samples_whatever_the_machine_did(
    one_state: bool,
) -> None:
    """On a machine that changes from call to call no state lasts, and none can be another."""
    generator = np.random.default_rng(2)
    for _ in range(20):
        runs = [launches(generator, 1, 20, noise=0.05, median=10.0 * x) for x in (1.0, 3.0)]
        states = [3.0 * 1.2 ** generator.permutation(20) for _ in runs]
        base, new = (
            result(run, stretches=tuple(Stretch(1, 0.1, 2.0, float(us)) for us in work))
            for run, work in zip(runs, states, strict=True)
        )
        key = next(iter(points_of(record(base))))
        pair = pair_of(base, new, one_state)
        assert judge(key, pair, Terms(one_state=one_state)).verdict == "slower"


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
