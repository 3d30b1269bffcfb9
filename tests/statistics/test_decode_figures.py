"""Figures of decode steps from samples whose figures are known."""

from __future__ import annotations

import numpy as np
import pytest

from nvrar_bench.documents.decode import BackendStep, BatchResult, Figure, TimedStep
from nvrar_bench.documents.result import Check
from nvrar_bench.errors import NvrarBenchError
from nvrar_bench.statistics.decode import backend_step, compared, timed_step

PASSED = Check("passed", "exact", 1, 0, None, timed=True)


def timed(*samples_us: float) -> TimedStep:
    return timed_step(
        samples_us, (), None, warmup=3, stop_reason="iterations", arrivals=(), warnings=()
    )


def step(backend: str, *samples_us: float) -> BackendStep:
    return backend_step(backend, "", timed(*samples_us), PASSED, None)


def steps_of(work: TimedStep | None, *steps: BackendStep, has_work: bool = True):
    return compared(BatchResult(8, 10, 40, 0, work, steps), has_work).steps


def test_figures_of_steps_without_noise():
    work, mpi, nvrar = timed(*[600.0] * 9), step("mpi", *[1000.0] * 9), step("nvrar", *[800.0] * 9)
    first, second = steps_of(work, mpi, nvrar)
    assert first.all_reduce_us == Figure(400.0, 400.0, 400.0)
    assert first.all_reduce_part == Figure(0.4, 0.4, 0.4)
    assert first.tokens_per_s == Figure(8000.0, 8000.0, 8000.0)
    assert (first.versus, first.speed_up) == (None, None)
    assert second.all_reduce_us == Figure(200.0, 200.0, 200.0)
    assert second.tokens_per_s == Figure(10000.0, 10000.0, 10000.0)
    assert (second.versus, second.speed_up) == ("mpi", Figure(1.25, 1.25, 1.25))


def test_the_first_other_backend_is_what_all_are_compared_with():
    nvrar, nccl, mpi = (step(name, *[us] * 9) for name, us in
                        (("nvrar", 100.0), ("nccl", 150.0), ("mpi", 300.0)))  # fmt: skip
    found = steps_of(None, nvrar, nccl, mpi)
    assert [(one.versus, one.speed_up and one.speed_up.value) for one in found] == [
        ("nccl", 1.5), (None, None), ("nccl", 0.5)
    ]  # fmt: skip


def test_without_work_all_of_a_step_is_all_reduce():
    (found,) = steps_of(None, step("mpi", *[100.0] * 9), has_work=False)
    assert found.all_reduce_us == Figure(100.0, 100.0, 100.0)
    assert found.all_reduce_part == Figure(1.0, 1.0, 1.0)


@pytest.mark.parametrize("ends", [(0.0, 100.0), (100.0, 0.0)])
def test_a_step_that_took_no_time_is_refused(ends):
    first, second = (step(name, *[us] * 9) for name, us in zip(("mpi", "nvrar"), ends, strict=True))
    with pytest.raises(NvrarBenchError, match=r"^a step of 0.0 us has no rate"):
        steps_of(timed(*[50.0] * 9), first, second)


def test_an_interval_that_reaches_down_to_0_has_no_highest_rate():
    (found,) = steps_of(None, step("mpi", *[10.0, 0.0] * 7, 10.0, 10.0), has_work=False)
    assert found.step.latency_us.ci95_low == 0
    assert found.tokens_per_s.value == 800000.0
    assert found.tokens_per_s.ci95_high is None


def test_where_the_work_was_not_measured_nothing_is_said_of_the_rest():
    (found,) = steps_of(None, step("mpi", *[100.0] * 9))
    assert (found.all_reduce_us, found.all_reduce_part) == (None, None)


def test_few_samples_have_no_interval():
    (found,) = steps_of(timed(50.0), step("mpi", 100.0))
    assert found.all_reduce_us == Figure(50.0, None, None)
    assert found.tokens_per_s == Figure(80000.0, None, None)


def test_a_drift_that_all_steps_share_is_in_no_comparison():
    """The machine slows down by a third under the run, so that steps alone have no interval."""
    drift = np.linspace(900, 1200, 100)
    work, mpi, nvrar = timed(*drift), step("mpi", *(1.25 * drift)), step("nvrar", *(drift + 20))
    first, second = steps_of(work, mpi, nvrar)
    assert first.step.latency_us.ci95_low is None
    assert first.all_reduce_part == Figure(0.2, 0.2, 0.2)
    assert second.all_reduce_us == Figure(20.0, 20.0, 20.0)
    (_, found) = steps_of(work, mpi, step("nvrar", *drift))
    assert found.speed_up == Figure(1.25, 1.25, 1.25)


@pytest.mark.parametrize("late", [((2,), (5,)), ((), (2, 5)), ((2, 5, 11), ())])
def test_pairs_of_which_one_is_late_or_missing_do_not_count(late):
    """Of 12 and 10 samples; two of the shorter are far off."""
    odd = {2: 9000.0, 5: 0.0}
    us = [1000.0 + i for i in range(12)], [odd.get(i, 1030.0 + i) for i in range(10)]
    work, whole = (
        timed_step(tuple(us[i]), late[i], None, warmup=0, stop_reason="iterations", arrivals=(),
                   warnings=()) for i in range(2)
    )  # fmt: skip
    (found,) = steps_of(work, backend_step("mpi", "", whole, PASSED, None))
    assert found.all_reduce_us == Figure(30.0, 30.0, 30.0)


def test_where_all_are_late_all_are_compared():
    late = tuple(range(9))
    work, whole = (
        timed_step((us,) * 9, late, None, warmup=0, stop_reason="iterations", arrivals=(),
                   warnings=()) for us in (100.0, 150.0)
    )  # fmt: skip
    (found,) = steps_of(work, backend_step("mpi", "", whole, PASSED, None))
    assert found.all_reduce_us == Figure(50.0, 50.0, 50.0)


def test_what_to_do_about_a_drift_is_what_decode_can_do():
    """It has no --launches."""
    drift, _ = timed(*np.repeat([1000.0, 1100.0], 60)).warnings
    assert "the machine changed speed during the run" in drift
    assert "; repeat it, and keep other work off the machine (comm and speed-up hold" in drift
    assert "--launches" not in drift


def test_intervals_hold_the_truth_as_often_as_they_say_on_a_machine_that_drifts():
    """Skewed samples, in turns of 5, of a machine whose speed wanders.

    50 us of a step are all-reduce, and 20 us of the other's. 95 % of 240, less 3 sigma. The
    intervals are less than half as wide as those of the steps, where these have one.
    """
    draws, held, widths = np.random.default_rng(7), 0, []
    order = np.tile(np.arange(3), (20, 1))
    for _ in range(120):
        speed = np.cumsum(draws.normal(0, 0.004, 360))
        turns = 18 * np.arange(20) + 6 * draws.permuted(order, axis=1).T
        places = turns[:, :, None] + np.arange(1, 6)
        us = 950 * np.exp(speed[places]) + 20 * draws.lognormal(0, 0.5, places.shape)
        work, mpi, nvrar = us.reshape(3, 100) + np.array([[0], [50], [20]])
        found = steps_of(timed(*work), step("mpi", *mpi), step("nvrar", *nvrar))
        for one, truth in zip(found, (50, 20), strict=True):
            added, whole = one.all_reduce_us, one.step.latency_us
            held += added.ci95_low <= truth <= added.ci95_high
            if whole.ci95_low is not None:
                width = added.ci95_high - added.ci95_low
                widths.append(width / (whole.ci95_high - whole.ci95_low))
    assert held >= 217
    assert np.median(widths) < 0.5


@pytest.mark.parametrize("late", [(), (8,)])
def test_late_samples_do_not_count(late):
    samples = (*[100.0] * 8, 900.0)
    found = timed_step(
        samples, late, None, warmup=0, stop_reason="iterations", arrivals=(), warnings=()
    )
    assert (found.samples, found.latency_us.max) == (9, 100.0 if late else 900.0)
