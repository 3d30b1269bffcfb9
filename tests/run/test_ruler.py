"""The ruler, on a clock whose resolution and cost are known, and on the CPU device."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nvrar_bench.devices.cpu import CpuDevice
from nvrar_bench.run import starts
from nvrar_bench.run.starts import Ruler, measure_ruler, resolution_of
from nvrar_bench.timing.loop import Gate, time_calls


class Clock:
    """A reading takes 30 ns and shows multiples of 100 ns."""

    def __init__(self):
        self.now = 0

    def __call__(self):
        self.now += 30
        return self.now // 100 * 100


class FakeDevice:
    """Times calls by the operation's clock; `events` are its own timer's."""

    def __init__(self, events=None, nothing=None):
        self.event_ruler_ns, self.nothing = events, nothing

    def time_calls(self, operation, prepare, gate, timings):
        launch = operation.native or operation.launch
        time_calls(launch, prepare, gate, operation.clock, timings)


class Open(Gate):
    """Lets everybody go."""

    def __init__(self):
        self.passes = 0

    def __call__(self):
        self.passes += 1


def test_resolution_and_costs_are_those_of_the_clock():
    clock, gate = Clock(), Open()
    found = measure_ruler(FakeDevice((500.0, 1200.0)), gate, clock, calls=101)
    assert found.resolution_ns == 100
    assert found.timer_cost_ns == pytest.approx(30, abs=4)  # a batch of 33 is 900 or 1000 ns
    assert found.call_cost_ns == 0  # most of 30 ns are below the resolution
    assert (found.event_resolution_ns, found.event_cost_ns) == (500, 1200)
    assert gate.passes == 101


def test_a_device_that_times_native_calls_tells_what_one_costs():
    clock = Clock()

    def nothing():
        clock.now += 700

    found = measure_ruler(FakeDevice(nothing=nothing), Open(), clock, calls=101)
    assert found.call_cost_ns == 700


def test_the_record_holds_what_is_known():
    assert Ruler(60.0, 50.0, 80.0).facts() == {
        "resolution_ns": 60.0, "timer_cost_ns": 50.0, "call_cost_ns": 80.0
    }  # fmt: skip
    assert measure_ruler(FakeDevice(), Open(), Clock()).facts().keys() == {
        "resolution_ns", "timer_cost_ns", "call_cost_ns"
    }  # fmt: skip


def test_a_figure_is_doubted_when_the_ruler_is_more_than_a_twentieth_of_it():
    known = Ruler(60.0, 50.0, 80.0)
    assert known.doubts(1.7e-6) == ()
    (cost,) = known.doubts(1.3e-6)
    assert cost == (
        "ruler: what is measured when nothing is called, 0.08 us, is 6 % of the median of 1.3 us: "
        "measure longer messages, or more calls per sample (--batch)"
    )
    resolution, cost = known.doubts(0.6e-6)
    assert resolution.startswith("ruler: the resolution of the clock, 0.06 us, is 10 % of the")
    assert cost.startswith(
        "ruler: what is measured when nothing is called, 0.08 us, is 13 % of the median"
    )
    assert all("more than all of the median of 0 us" in one for one in known.doubts(0.0))


def test_queued_calls_are_judged_by_the_devices_own_timer():
    known = Ruler(60.0, 50.0, 80.0, event_resolution_ns=500.0, event_cost_ns=1500.0)
    assert known.doubts(30e-6, batch=1, by_events=True) == ()
    assert known.doubts(20e-6, batch=3, by_events=True) == ()
    resolution, cost = known.doubts(2e-6, batch=4, by_events=True)
    assert resolution.startswith("ruler: the resolution of the clock, 0.125 us, is 6 % of the")
    assert cost == (
        "ruler: what is measured when nothing is called, 0.375 us, is 19 % of the median of 2 us: "
        "measure longer messages, or more calls per sample (--batch)"
    )
    assert Ruler(60.0, 50.0, 80.0).doubts(1e-9, by_events=True) == ()


def test_what_calls_alone_cost_is_said_in_the_same_words_at_every_point():
    known = Ruler(60.0, 50.0, 80.0, event_resolution_ns=500.0, event_cost_ns=2780.0)
    (said,) = known.doubts(10e-6, by_events=True)
    assert said == (
        "ruler: each call was timed alone, and 2.78 us of every figure are the two events around "
        "it: --batch K shares them among K calls"
    )
    assert known.doubts(5e-6, by_events=True) == (said,)
    assert known.doubts(60e-6, by_events=True) == ()


def test_a_clock_that_stands_still_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(starts, "_STEPS_WITHIN_S", 0.01)
    assert resolution_of(lambda: 5) == 0.01e9


def test_the_cpus_ruler_comes_from_real_calls(alone):
    device = CpuDevice(alone, 1.0)
    found = measure_ruler(device.timer, device.start_gate(), calls=51)
    assert found.resolution_ns > 0
    assert found.timer_cost_ns > 0
    assert found.call_cost_ns > 0
    assert found.event_resolution_ns is None
    assert replace(found, call_cost_ns=1e9).doubts(1.0) != ()
