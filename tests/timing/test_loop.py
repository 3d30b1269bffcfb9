"""The timed loop on a clock of its own and on the machine's, and what it fills."""

from __future__ import annotations

import numpy as np

from nvrar_bench.timing.loop import MONOTONIC, Gate, Timings, time_calls


class Agreed(Gate):
    """Agrees on the moment of each pass."""

    mode = "clock"

    def __init__(self, events):
        self.events, self.now = events, 0

    @property
    def agreed_ns(self):
        return self.now

    def __call__(self):
        self.events.append("gate")
        self.now = MONOTONIC()


def test_each_call_is_prepared_let_go_and_timed_alone():
    events, timings = [], Timings.empty(3)
    time_calls(
        lambda: events.append("call"), lambda: events.append("prepare"), Agreed(events), MONOTONIC,
        timings,
    )  # fmt: skip
    assert events == ["prepare", "gate", "call"] * 3
    assert (timings.durations > 0).all()
    assert (timings.starts >= timings.agreed).all()
    assert (np.diff(timings.agreed) > 0).all()
    assert (timings.starts[:2] + timings.durations[:2] <= timings.agreed[1:]).all()
    assert (timings.lateness() == timings.starts - timings.agreed).all()


def test_an_operation_with_a_clock_of_its_own_has_durations_alone():
    readings = iter([5, 12, 100, 101])
    timings = Timings.empty(2)
    time_calls(lambda: None, lambda: None, Agreed([]), lambda: next(readings), timings)
    assert timings.durations.tolist() == [7, 1]
    assert not timings.starts.any()
    assert not timings.agreed.any()
    assert not timings.lateness().any()


def test_a_start_that_was_not_agreed_on_is_not_late():
    timings = Timings.empty(2)
    timings.starts[:], timings.agreed[:] = [50, 60], [0, 55]
    assert timings.lateness().tolist() == [0, 5]


def test_a_part_is_a_view():
    timings = Timings.empty(5)
    part = timings.part(1, 3)
    for array in (part.durations, part.starts, part.agreed):
        array += 1
    assert len(part) == 3
    for array in (timings.durations, timings.starts, timings.agreed):
        assert array.tolist() == [0, 1, 1, 1, 0]


def test_a_batch_follows_one_start_and_a_sample_is_the_time_of_a_call():
    events, timings = [], Timings.empty(2)
    readings = iter([0, 50, 100, 199])
    time_calls(
        lambda: events.append("call"), lambda: events.append("prepare"), Agreed(events),
        lambda: next(readings), timings, 5,
    )  # fmt: skip
    assert events == ["prepare", "gate", *["call"] * 5] * 2
    assert timings.durations.tolist() == [10, 20]
