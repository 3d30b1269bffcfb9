"""Figures of decode steps from samples whose figures are known."""

from __future__ import annotations

import numpy as np
import pytest

from nvrar_bench.documents.decode import BackendStep, Figure, TimedStep
from nvrar_bench.documents.result import Check
from nvrar_bench.errors import NvrarBenchError
from nvrar_bench.statistics.decode import backend_step, batch_result, timed_step
from nvrar_bench.statistics.median import Estimate, difference

PASSED = Check("passed", "exact", 1, 0, None, timed=True)


def timed(*samples_us: float) -> TimedStep:
    return timed_step(
        samples_us, (), None, warmup=3, stop_reason="iterations", arrivals=(), warnings=()
    )


def step(backend: str, *samples_us: float) -> BackendStep:
    return backend_step(backend, "", timed(*samples_us), PASSED, None)


def steps_of(work: TimedStep | None, *steps: BackendStep, has_work: bool = True):
    return batch_result(8, 10, 40, 0, work, steps, has_work).steps


def test_a_difference_and_its_interval():
    """Distances to the ends add as independent errors do: 3 and 4 make 5."""
    found = difference(Estimate(100.0, 97.0, 106.0), Estimate(60.0, 52.0, 64.0))
    assert (found.value, found.low, found.high) == (40.0, 35.0, 50.0)
    assert difference(Estimate(1.0, None, None), Estimate(1.0, 1.0, 1.0)).interval is None


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


def test_the_interval_holds_the_true_difference_as_often_as_it_says():
    """Skewed samples; 50 us of a step are all-reduce. 95 % of 200, less 3 sigma."""
    draws, hits = np.random.default_rng(7), 0
    for _ in range(200):
        noise = draws.lognormal(0.0, 0.5, (2, 100)) * 20
        work, whole = timed(*(950 + noise[0])), step("mpi", *(1000 + noise[1]))
        (found,) = steps_of(work, whole)
        assert found.all_reduce_us
        hits += found.all_reduce_us.ci95_low <= 50 <= found.all_reduce_us.ci95_high
    assert hits >= 181


@pytest.mark.parametrize("late", [(), (8,)])
def test_late_samples_do_not_count(late):
    samples = (*[100.0] * 8, 900.0)
    found = timed_step(
        samples, late, None, warmup=0, stop_reason="iterations", arrivals=(), warnings=()
    )
    assert (found.samples, found.latency_us.max) == (9, 100.0 if late else 900.0)
