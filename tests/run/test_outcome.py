"""From samples and checks of all ranks to one result."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nvrar_bench.devices.cpu import CpuDevice
from nvrar_bench.devices.operation import Shape
from nvrar_bench.documents.result import (
    Arrival,
    Check,
    FirstWrong,
    Latency,
    LaunchShape,
    State,
    Stretch,
)
from nvrar_bench.errors import WrongResult
from nvrar_bench.run.outcome import (
    arrivals_of,
    combined_check,
    own_check,
    provisional_check,
    require_right,
    result_of,
)
from nvrar_bench.run.point import Point, Turn
from nvrar_bench.settings.plans import build_plan
from nvrar_bench.statistics.figures import DOUBT
from nvrar_bench.timing.stopping import Iterations, Taken
from nvrar_bench.verify import CheckResult

(CASE,) = build_plan((4096,), placements=("in_place",))
UNCHECKED = Check("skipped", None, 0, 0, None, timed=True)
RIGHT = CheckResult("passed", "exact", 1024, 0, None)


class Ranks:
    """A communicator whose other ranks have said already what they gather."""

    rank = 0

    def __init__(self, *others: object) -> None:
        self.others = others
        self.size = 1 + len(others)

    def allgather(self, mine: object) -> list[object]:
        return [mine, *self.others]


class Operation:
    variant = "signal"
    warnings = ()
    shape = Shape("signal", 4, 128, 4096, 2)
    tuned_at = 8192


def turn(times: np.ndarray, late: np.ndarray, *states: tuple[int, int, int]) -> Turn:
    """Calls in as many stretches as there are `states`, in nanoseconds; one that is unknown."""
    seen = np.array(states or [(0, 0, 0)])
    counts = [len(part) for part in np.array_split(times, len(seen))]
    return Turn(times, late, late, np.array(counts), seen)


def measured(*checks: CheckResult, canary_broken: bool = False, samples: tuple = (1000,)):
    times, on_time = np.array(samples), np.zeros(len(samples), np.int64)
    return Point(
        "nvrar", CASE, Operation(), None, [], Iterations(len(samples)),
        [turn(times, on_time)], list(checks), canary_broken, stop_reason="iterations",
    )  # fmt: skip


def wrong(rank: int, index: int, count: int = 1) -> CheckResult:
    first = {"rank": rank, "index": index, "expected": 2.0, "seen": "nan"}
    return CheckResult("failed", "exact", 1024, count, first)


def of_rank(*checks: CheckResult, canary_broken: bool = False) -> Check:
    """What another rank says of its checks."""
    return own_check(measured(*checks, canary_broken=canary_broken))


def test_checks_of_all_ranks_are_added_up(alone):
    world = replace(alone, comm=Ranks(of_rank(RIGHT, RIGHT)))
    check = combined_check(world, measured(RIGHT, RIGHT))
    assert check == Check("passed", "exact", 4096, 0, None, timed=True)


def test_the_first_wrong_element_is_the_lowest_index_on_the_lowest_rank(alone):
    others = of_rank(wrong(1, 900), wrong(1, 5, 3)), of_rank(RIGHT, wrong(2, 5))
    world = replace(alone, comm=Ranks(*others))
    check = combined_check(world, measured(wrong(0, 17), RIGHT))
    assert check == Check("failed", "exact", 6 * 1024, 6, FirstWrong(1, 5, 2.0, "nan"), timed=True)


def test_memory_around_the_output_counts_as_wrong(alone):
    world = replace(alone, comm=Ranks(*2 * [of_rank(RIGHT, canary_broken=True)]))
    check = combined_check(world, measured(RIGHT))
    first = FirstWrong(1, 1024, "untouched memory", "overwritten memory")
    assert check == Check("failed", "exact", 3 * 1024, 2, first, timed=True)


def test_a_wrong_element_is_told_before_broken_memory(alone):
    world = replace(alone, comm=Ranks(of_rank(wrong(1, 7))))
    check = combined_check(world, measured(RIGHT, canary_broken=True))
    assert check == Check("failed", "exact", 2048, 2, FirstWrong(1, 7, 2.0, "nan"), timed=True)


def test_without_checks_it_is_skipped(alone):
    check = combined_check(replace(alone, comm=Ranks(of_rank())), measured())
    assert check == UNCHECKED


@pytest.mark.parametrize("status", ["passed", "skipped"])
def test_what_is_right_or_unknown_passes(status):
    require_right(measured(), Check(status, None, 0, 0, None, timed=True))


@pytest.mark.parametrize(
    ("index", "place"), [(5, "element 5"), (1024, "element 1024 (not of the output)")]
)
def test_a_wrong_result_is_told_in_full(index, place):
    check = Check("failed", "exact", 4096, 3, FirstWrong(1, index, 2.0, "nan"), timed=True)
    with pytest.raises(WrongResult) as caught:
        require_right(measured(), check)
    assert str(caught.value) == (
        "nvrar (signal, 4 x 128 threads, chunks of 4K, radix 2) gave a wrong result: "
        "float32 sum, in_place, symmetric, 4096 bytes: "
        f"3 of 4096 elements checked; first on rank 1, {place}: expected 2.0, saw nan"
    )


def test_a_result_in_microseconds_and_gigabytes(alone):
    world = replace(alone, comm=Ranks(None, None, None), hosts=("here",) * 4)
    passed = Check("passed", "exact", 1, 0, None, timed=True)
    one = measured(samples=(2000, 8000, 4096, 1001, 9000, 4096, 5000))
    result = result_of(CpuDevice(world, 1.0), one, passed, 3, "@2")
    assert result.latency_us == Latency(4.096, 1.001, 9.0, 4.7419, 1.001, 9.0, None, None)
    assert result.samples_us == (2.0, 8.0, 4.096, 1.001, 9.0, 4.096, 5.0)
    assert (result.samples, result.warmup, result.stop_reason) == (7, 3, "iterations")
    assert (result.algbw_gb_per_s, result.busbw_gb_per_s) == pytest.approx((1.0, 1.5))
    assert (result.backend, result.variant, result.device) == ("nvrar", "signal@2", "cpu")
    assert (result.size_bytes, result.count, result.placement) == (4096, 1024, "in_place")
    assert result.check is passed
    assert not [text for text in result.warnings if not text.startswith(DOUBT)]


def test_how_a_call_was_launched_is_in_the_result(alone):
    device = CpuDevice(alone, 1.0)
    point = measured(RIGHT)
    result = result_of(device, point, Check("passed", "exact", 1024, 0, None, timed=True), 0, "")
    assert result.shape == LaunchShape(4, 128, 4096, 2, "doubling", tuned_at=8192)
    point.operation.shape = None
    assert result_of(device, point, result.check, 0, "").shape is None


def test_more_ranks_than_cores_is_a_warning(alone):
    world = replace(alone, host_comm=Ranks(None), cores=1)
    result = result_of(CpuDevice(world, 1.0), measured(), UNCHECKED, 0, "")
    warning = result.warnings[0]
    assert warning.startswith("2 ranks share 1 cores: ")


def test_samples_that_a_rank_began_late_are_named_and_left_out(alone):
    one = measured(samples=(1000, 9000, 2000, 7000, 3000))
    late = np.array([0, 1, 0, 1, 1])
    one.turns = [turn(one.durations[:2], late[:2])]
    one.turns.append(turn(np.array([2000, 7000, 3000]), late[2:]))
    result = result_of(CpuDevice(alone, 1.0), one, UNCHECKED, 0, "")
    assert (result.late, result.samples) == ((1, 3, 4), 5)
    assert "3 of 5 samples began late" in "".join(result.warnings)
    assert (result.latency_us.median, result.latency_us.max) == (1.5, 2.0)


@pytest.mark.parametrize(
    ("one_state", "median", "state", "counted"),
    [
        (False, 2.0, State(0.1, 2.8, 3.6, 0), [1e-6] * 20 + [5e-6] * 20 + [2e-6] * 40),
        (True, 1.0, State(0.1, 2.0, 2.3, 60), [1e-6] * 20),
    ],
)
def test_samples_of_another_state_of_the_machine_are_left_out_if_asked_for(
    alone, one_state, median, state, counted
):
    calm, busy = (100, 2000, 2300), (100, 2800, 3600)
    one = replace(measured(samples=()), one_state=one_state)
    on_time = np.zeros(40, np.int64)
    one.turns = [
        turn(np.array([1000] * 20 + [5000] * 20), on_time, calm, busy),
        turn(np.array([2000] * 40), on_time, busy),
    ]
    result = result_of(CpuDevice(alone, 1.0), one, UNCHECKED, 0, "")
    assert result.stretches == (
        Stretch(20, 0.1, 2.0, 2.3), Stretch(20, 0.1, 2.8, 3.6), Stretch(40, 0.1, 2.8, 3.6)
    )  # fmt: skip
    assert (result.latency_us.median, result.latency_us.max) == (median, 5.0)
    assert result.state == state
    one.rule = Seen()
    one.next_turn()
    assert (one.rule.taken.samples.tolist(), one.rule.taken.calls) == (counted, 80)


class Seen(Iterations):
    """A rule that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(100)

    def next_turn(self, taken: Taken) -> int:
        self.taken = taken
        return 1


def test_how_late_each_rank_came(alone):
    one = measured(samples=(1000, 1000, 1000))
    one.turns[0] = replace(one.turns[0], own_delays=np.array([100, 7000, 200]))
    world = replace(alone, comm=Ranks((0.5, 1.25)))
    assert arrivals_of(world, one) == (Arrival(0, 0, 0.2, 7.0), Arrival(0, 1, 0.5, 1.25))


def test_of_an_unfinished_point_only_what_is_wrong_is_known():
    assert provisional_check(measured(RIGHT)) == UNCHECKED
    check = provisional_check(measured(RIGHT, wrong(3, 5, 2)))
    assert check == Check("failed", "exact", 2048, 2, FirstWrong(3, 5, 2.0, "nan"), timed=True)
