"""From samples to figures: late samples, launches, doubts, and the same again from a record."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from documents.samples import RESULT, begin
from msgspec.structs import replace
from scipy import stats

from nvrar_bench.documents.record import RunRecord
from nvrar_bench.documents.result import State, Stretch
from nvrar_bench.errors import NvrarBenchError, UsageError
from nvrar_bench.statistics import doubts as doubts_of
from nvrar_bench.statistics.doubts import DOUBT
from nvrar_bench.statistics.figures import (
    Figures,
    figures,
    latency,
    make_result,
    replay,
)
from nvrar_bench.statistics.independence import (
    BATCHES,
    Shift,
    alarming,
    critical_ratio,
    effective_samples,
)
from nvrar_bench.statistics.median import Estimate, median_interval, percentile
from nvrar_bench.statistics.points import Counted

RECORDED = json.loads((Path(__file__).parent / "data" / "recorded.json").read_text())


def normal(count: int, seed: int = 1, mean: float = 100.0) -> list[float]:
    found: list[float] = np.random.default_rng(seed).normal(mean, 1, size=count).round(3).tolist()
    return found


def of(samples: list[float], target: float | None = None) -> Figures:
    return figures(samples, (len(samples),), (), target)


def the_doubt(found: Figures) -> str:
    assert len(found.doubts) == 1
    assert found.doubts[0].startswith(DOUBT)
    return found.doubts[0].removeprefix(DOUBT)


def test_independent_samples_raise_no_doubt() -> None:
    samples = normal(200)
    found = of(samples)
    low, high = median_interval(sorted(samples)) or (0, 0)
    assert found.doubts == ()
    assert (found.latency_us.ci95_low, found.latency_us.ci95_high) == (low, high)
    assert found.precision.reached == round((high - low) / 2 / np.median(samples), 6)
    assert (found.independence.effective_samples, found.launches.count) == (200, 1)
    assert found.launches.medians_us == (found.latency_us.median,)
    assert found.launches.between_us is None


def test_recorded_samples_that_follow_each_other() -> None:
    samples = RECORDED["follow"]
    found = of(samples)
    worth = effective_samples(samples)
    assert found.independence.effective_samples == round(worth, 1)
    interval = median_interval(sorted(samples), effective=worth)
    assert (found.latency_us.ci95_low, found.latency_us.ci95_high) == interval
    assert "these 300 are worth 15 independent ones" in the_doubt(found)
    assert "raise --iters to 1000" in the_doubt(found)  # 300 x 50 / 15.2, rounded up


def test_recorded_start() -> None:
    found = of(RECORDED["start"])
    first, rest = np.split(np.array(RECORDED["start"]), [30])
    drift = (np.median(first) - np.median(rest)) / np.median(RECORDED["start"])
    assert found.independence.drift == round(drift, 6)
    assert the_doubt(found) == (
        "the first tenth of the samples lies 25 % above the rest, so calls had not settled; "
        "raise --warmup"
    )


def test_a_step_halfway() -> None:
    found = of(normal(300) + normal(300, 2, mean=98.0))
    assert "second half of the samples lies 1.9 % below the first" in found.doubts[0]
    assert "--launches" in found.doubts[0]


def test_weak_states_that_last() -> None:
    """Tenths that differ a little, in no trend: no lag shows it, and the batches do."""
    levels = [100, 100.3, 100, 100.3, 100.3, 100, 100, 100.3, 100, 100.3]
    found = of([x for i, level in enumerate(levels) for x in normal(400, i, level)])
    assert "medians of tenths of the run lie" in found.doubts[0]


def test_a_drift_too_small_to_matter_is_not_told() -> None:
    found = of([x / 100 + 100 for x in normal(300) + normal(300, 2, mean=98.0)])
    assert not any("second half" in doubt for doubt in found.doubts)


def test_samples_that_were_late_are_in_no_figure() -> None:
    samples = normal(200)
    spoiled = [*samples[:7], 1e6, *samples[7:], 2e6]
    found = figures(spoiled, (202,), (7, 201), None)
    assert found == of(samples)


def test_all_samples_late() -> None:
    samples = normal(20)
    found = figures(samples, (10, 10), range(20), None)
    plain = figures(samples, (10, 10), (), None)
    assert dataclasses.replace(found, doubts=()) == dataclasses.replace(plain, doubts=())
    assert found.doubts[0].startswith(f"{DOUBT}all 20 samples began late")
    assert found.doubts[1:] == plain.doubts


def test_all_samples_of_a_launch_late() -> None:
    samples = normal(300)
    found = figures(samples, (100, 100, 100), range(100, 200), None)
    plain = figures(samples[:100] + samples[200:], (100, 100), (), None)
    assert found.latency_us == plain.latency_us
    assert found.launches.medians_us == plain.launches.medians_us
    assert found.launches.count == 3
    assert found.doubts[0] == (
        f"{DOUBT}launch 1 has no sample in time and is not in the figures; repeat the run"
    )


CALM, BUSY = (0.1, 2.0, 3.0), (0.1, 2.8, 4.5)


def stretches(*states: tuple[int, tuple[float, float, float]]) -> tuple[Stretch, ...]:
    return tuple(Stretch(samples, *readings) for samples, readings in states)


def of_states(
    *states: tuple[int, tuple[float, float, float]],
) -> tuple[tuple[Stretch, ...], bool]:
    """Stretches, and that one state is asked for."""
    return stretches(*states), True


def test_all_samples_in_time_count_whatever_the_machine_did() -> None:
    calm, busy = normal(100), normal(300, 2, mean=150.0)
    states = stretches((100, CALM), (300, BUSY))
    found = figures(calm + busy, (400,), (0, 200), None, states)
    plain = figures(calm + busy, (400,), (0, 200), None)
    assert found == dataclasses.replace(
        plain, state=State(0.1, 2.4, 3.75, 0)
    )  # the middle of its stretches
    restless = stretches(*[(4, (0.1, 2.0, 3.0 * 1.2**i)) for i in range(100)])
    assert figures(calm + busy, (400,), (0, 200), None, restless).doubts == plain.doubts
    launches = figures(calm + busy, (100, 300), (), None, states).launches
    assert len(launches.medians_us) == launches.count == 2


def test_with_one_state_the_median_is_of_the_fastest_and_percentiles_are_of_all() -> None:
    calm, busy = normal(100), normal(300, 2, mean=150.0)
    found = figures(
        calm[:50] + busy + calm[50:], (400,), (0, 60), None,
        stretches((50, CALM), (300, BUSY), (50, CALM)), one_state=True,
    )  # fmt: skip
    alone, everything = of(calm[1:]), of(calm[1:50] + busy[:10] + busy[11:] + calm[50:])
    latency = everything.latency_us
    assert found.latency_us == replace(
        latency,
        median=alone.latency_us.median,
        ci95_low=alone.latency_us.ci95_low,
        ci95_high=alone.latency_us.ci95_high,
    )
    assert (found.precision, found.independence) == (alone.precision, alone.independence)
    assert found.state == State(*CALM, 299)
    assert found.doubts == ()


def test_who_needs_more_samples_of_a_state_has_to_take_more_of_all() -> None:
    follow = RECORDED["follow"]
    others = [2 * sample for sample in follow] * 2
    found = figures(follow + others, (900,), (), None, *of_states((300, CALM), (600, BUSY)))
    assert "these 300 are worth 15 independent ones" in the_doubt(found)
    assert "raise --iters to 3000" in the_doubt(found)  # 900 x 50 / 15.2, rounded up
    samples = normal(100)
    reached = of(samples).precision.reached or 0.0
    both = samples + [2 * sample for sample in samples]
    missed = figures(both, (200,), (), 0.51 * reached, *of_states((100, CALM), (100, BUSY)))
    assert "allow about 770 samples" in missed.doubts[0]


def test_launches_that_were_in_another_state_are_told() -> None:
    runs = [normal(100), normal(100, 2), normal(100, 3, mean=150.0)]
    samples = [sample for run in runs for sample in run]
    asked = of_states((100, CALM), (100, CALM), (100, BUSY))
    found = figures(samples, (100,) * 3, (), None, *asked)
    plain = figures(samples[:200], (100,) * 2, (), None)
    assert found.latency_us.median == plain.latency_us.median
    assert found.launches == replace(plain.launches, count=3)
    assert found.doubts[0] == (
        f"{DOUBT}launch 2 found the machine at another speed than most, and is not in the median; "
        "keep other work off it, or let --launches go on with --max-launches"
    )
    assert found.doubts[1:] == plain.doubts


@pytest.mark.parametrize(("samples", "is_told"), [(100, True), (99, False)])
def test_a_machine_that_stays_in_no_state_is_told(samples: int, is_told: bool) -> None:
    states = [(1, (0.1, 2.0, 3.0 * 1.2**i)) for i in range(samples)]
    found = figures(normal(samples), (samples,), (), None, *of_states(*states))
    plain = of(normal(samples))
    assert dataclasses.replace(found, doubts=(), state=plain.state) == dataclasses.replace(
        plain, doubts=()
    )
    said = "the machine kept changing speed, and the figures are of all its speeds"
    assert any(said in doubt for doubt in found.doubts) == is_told


def test_where_the_state_has_late_samples_alone_all_in_time_count() -> None:
    samples = normal(60)
    found = figures(samples, (60,), range(30), None, *of_states((30, CALM), (30, BUSY)))
    assert found.latency_us == of(samples[30:]).latency_us
    assert found.state.left_out == 0


@pytest.mark.parametrize(
    ("late", "work_us", "wanted"),
    [
        ((), (1.0, 1.0), [1, 1, 1, 1]),
        ((0,), (1.0, 1.0), [0, 1, 1, 1]),
        ((0,), (1.0, 5.0), [0, 1, 0, 0]),
        ((0, 1), (1.0, 5.0), [0, 0, 1, 1]),
        ((0, 1, 2, 3), (1.0, 5.0), [1, 1, 1, 1]),
    ],
)
def test_which_samples_the_median_is_of(late, work_us, wanted) -> None:
    samples = (4.0, 2.0, 7.0, 9.0)
    stretches = tuple(Stretch(2, 0.1, 2.0, us) for us in work_us)
    result = replace(
        RESULT, samples_us=samples, launch_samples=(4,), late=late, stretches=stretches
    )
    assert Counted.of_result(result, one_state=True).mask.tolist() == [
        bool(each) for each in wanted
    ]
    for one_state in (False, True):
        found = figures(samples, (4,), late, None, stretches, one_state)
        chosen = np.array(samples)[Counted.of_result(result, one_state).mask]
        assert found.latency_us.median == np.median(chosen)


def test_stretches_that_are_no_parts_of_launches() -> None:
    with pytest.raises(UsageError, match="stretches: no stretch ends at sample 3"):
        figures(normal(6), (3, 3), (), None, stretches((4, CALM), (2, CALM)))


def test_the_target_is_missed() -> None:
    samples = normal(100)
    reached = of(samples).precision.reached
    assert reached is not None
    assert of(samples, target=reached * 1.001).doubts == ()
    found = of(samples, target=reached / 3)
    assert found.precision.target == reached / 3
    needed = int(the_doubt(found).split("allow about ")[1].split()[0])
    assert 900 <= needed <= 920  # (3 times as precise) x 100, rounded up to two digits


def test_a_target_and_no_interval() -> None:
    assert "5 samples are too few for an interval" in the_doubt(of(normal(5), target=0.01))
    assert of(normal(5)).doubts == ()


def test_a_target_of_launches_asks_for_launches() -> None:
    samples = [x for i in range(4) for x in normal(100, i, 100 + i)]
    found = figures(samples, (100,) * 4, (), 0.01)
    (missed,) = [doubt for doubt in found.doubts if "4 launches reached" in doubt]
    # Of many launches whose medians spread by s: 1.96 s / sqrt(n) is 1 % of the median.
    spread = np.std(found.launches.medians_us, ddof=1) / found.latency_us.median
    needed = int(missed.split("allow about ")[1].split()[0])
    assert needed == pytest.approx((1.96 * spread / 0.01) ** 2, rel=0.1)


def test_launches() -> None:
    parts = [normal(100, i, 100 + 5 * i) for i in range(3)]
    everything = [x for part in parts for x in part]
    found = figures(everything, (100,) * 3, (), None)
    medians = [float(np.median(part)) for part in parts]
    assert found.launches.medians_us == tuple(round(m, 4) for m in medians)
    assert found.latency_us.median == round(medians[1], 4)
    wanted = stats.t.interval(0.95, 2, np.mean(medians), stats.sem(medians))
    interval = (found.latency_us.ci95_low, found.latency_us.ci95_high)
    assert interval == pytest.approx(wanted, abs=1e-4)
    assert found.precision.reached == pytest.approx(np.ptp(wanted) / 2 / medians[1], abs=1e-6)
    # The other figures are of all calls of all launches.
    assert found.latency_us.p95 == percentile(sorted(everything), 95)
    assert found.latency_us.mean == round(float(np.mean(everything)), 4)
    assert found.launches.between_us == pytest.approx(np.std(medians, ddof=1), rel=0.01)
    assert "launches differ by 4." in the_doubt(found)
    assert "a single launch would mislead" in the_doubt(found)


def test_no_autocorrelation_across_launches() -> None:
    """Levels that differ from launch to launch say nothing of the samples within."""
    parts = [normal(200, i, 100 + 20 * i) for i in range(2)]
    found = figures(parts[0] + parts[1], (200, 200), (), None)
    wanted = sum(effective_samples(part) for part in parts)
    assert found.independence.effective_samples == round(wanted, 1)


def test_the_worst_launch_is_told_by_its_place() -> None:
    samples = normal(300, 1) + normal(30, 2, 120) + normal(270, 3)
    found = figures(samples, (300, 300), (), None)
    assert "first tenth of the samples of launch 1 lies 20 % above" in found.doubts[0]
    assert found.independence.drift == pytest.approx(0.2, abs=0.01)


def test_alarms_of_several_launches() -> None:
    def alarm(*scores: float) -> bool:
        return alarming([Shift(0.1, score) for score in scores], 0.01)

    assert (alarm(2.5), alarm(2.6)) == (False, True)
    # The greatest of many is greater; and many that lean to one side need not stand out.
    assert (alarm(2.6, 0, 0, 0), alarm(4, 0, 0, 0)) == (False, True)
    assert (alarm(1.6, 1.6, 1.6, 1.6), alarm(1.6, -1.6, 1.6, -1.6)) == (True, False)
    assert not alarming([None, None], 0.01)


@pytest.mark.parametrize("level", [0.0027, 0.0005])
def test_critical_ratio_is_chi_squares(level: float) -> None:
    wanted = stats.chi2.ppf(1 - level, BATCHES - 1) / (BATCHES - 1)
    assert critical_ratio(level) == pytest.approx(wanted, rel=0.01)


@pytest.mark.parametrize(
    ("part", "text"),
    [(0.25, "25 %"), (0.031, "3.1 %"), (0.004, "0.40 %"), (1.5, "150 %"), (0.00001, "0.001 %")],
)
def test_percentages_have_two_digits(part: float, text: str) -> None:
    assert doubts_of._percent(part) == text


@pytest.mark.parametrize(("number", "about"), [(7.2, 8), (99, 99), (101, 110), (4321, 4400)])
def test_numbers_of_samples_are_rounded_up(number: float, about: int) -> None:
    assert doubts_of._about(number) == about


def recorded_run() -> RunRecord:
    raw = {f: getattr(RESULT, f) for f in ("backend", "variant", "device", "buffers", "dtype")}
    raw |= {f: getattr(RESULT, f) for f in ("op", "placement", "size_bytes", "count", "warmup")}
    raw |= {f: getattr(RESULT, f) for f in ("stop_reason", "arrivals", "check")}
    record = begin()
    for samples in RECORDED.values():
        record = record.with_result(
            make_result(
                ranks=2, samples_us=tuple(samples), launch_samples=(200, 100), late=(3, 250),
                target=0.01, warnings=("of the device",), **raw,
            )
        )  # fmt: skip
    return record


def test_replay_reproduces_a_record_to_the_digit() -> None:
    record = recorded_run()
    assert any(result.warnings[1:] for result in record.results)
    assert replay(record) == record
    assert replay(RunRecord.from_json(json.dumps(record.to_json()))) == record


def test_a_replay_takes_all_samples_unless_the_run_or_its_reader_asks_for_one_state() -> None:
    asked, calm, busy = of_states((100, CALM), (100, BUSY)), normal(100), normal(100, 2, 150.0)
    samples = tuple(calm + busy)
    record = recorded_run()
    one = replace(
        record.results[0], samples_us=samples, launch_samples=(200,), late=(), stretches=asked[0]
    )
    record = replace(record, results=(one,))
    assert replay(record).results[0].latency_us.median == round(float(np.median(samples)), 4)
    in_state = replay(record, one_state=True)
    assert in_state.results[0].latency_us.median == round(float(np.median(calm)), 4)
    assert (in_state.settings["one_state"], replay(in_state)) == (True, in_state)


def test_replay_corrects_figures_and_keeps_other_warnings() -> None:
    record = recorded_run()
    spoiled = tuple(
        replace(
            result,
            latency_us=replace(result.latency_us, median=1.0),
            busbw_gb_per_s=0.0,
            warnings=(*result.warnings, f"{DOUBT}of an older version"),
        )
        for result in record.results
    )
    assert replay(replace(record, results=spoiled)) == record


@pytest.mark.parametrize(
    ("launch_samples", "late"), [((2,), ()), ((2, 2), ()), ((3,), (3,)), ((3,), (-1,))]
)
def test_places_that_are_not_there(launch_samples: tuple[int, ...], late: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="allowed: 3 samples"):
        figures([1.0, 2.0, 3.0], launch_samples, late, None)


def test_no_samples_at_all() -> None:
    with pytest.raises(NvrarBenchError, match="cannot summarise 0 samples"):
        figures([], (0,), (), None)


def test_a_single_sample() -> None:
    found = of([5.0])
    assert (found.latency_us.median, found.latency_us.ci95_low, found.doubts) == (5.0, None, ())
    assert found.independence.effective_samples == 1


def test_latency_of_known_samples_in_any_order() -> None:
    samples = np.random.default_rng(1).permutation(np.arange(1.0, 201.0))
    found = latency(samples, Estimate(100.5, 86.0, 115.0))
    assert (found.median, found.mean, found.min, found.max) == (100.5, 100.5, 1.0, 200.0)
    assert (found.ci95_low, found.ci95_high) == (86.0, 115.0)
    assert (found.p95, found.p99) == (190.0, 198.0)


def test_latency_leaves_out_what_the_samples_do_not_support() -> None:
    few = of([3.0, 1.0, 2.0]).latency_us
    assert (few.median, few.ci95_low, few.ci95_high, few.p95) == (2.0, None, None, None)
    assert of([1.0] * 99).latency_us.p99 is None
    assert of([1.0] * 100).latency_us.p99 == 1.0


def test_latency_does_not_touch_the_raw_samples() -> None:
    samples = np.array([3.0, 1.0, 2.0])
    latency(samples, Estimate(2.0, None, None))
    assert samples.tolist() == [3.0, 1.0, 2.0]


@pytest.mark.parametrize("samples", [[], [1.0, float("nan")], [float("inf")]])
def test_latency_of_nothing_or_of_no_numbers(samples: list[float]) -> None:
    with pytest.raises(NvrarBenchError, match="finite"):
        of(samples)
