"""Who began a call late, and by how much."""

from __future__ import annotations

import numpy as np
import pytest

from nvrar_bench.run.starts import LateGate, Start
from nvrar_bench.timing.loop import Gate, Timings


class Clocks:
    """A clock 1000 ns behind rank 0's, known to 50 ns."""

    error_ns = 50.0

    def to_common(self, own_ns):
        return own_ns + 1000


class ByClock(Gate):
    mode, leaving_ns = "clock", 300.0

    def __call__(self) -> None: ...


def timings(starts: list[int], agreed: int, duration: int) -> Timings:
    n = len(starts)
    return Timings(np.full(n, duration), np.array(starts), np.full(n, agreed))


@pytest.fixture
def start() -> Start:
    return Start(ByClock(), Clocks())


def test_a_call_is_late_beyond_leaving_and_1_us_and_twice_the_clock_error(start):
    short = timings([5000, 6400, 6401, 9000], 5000, 100)
    assert start.late(short).tolist() == [0, 0, 1, 1]
    assert start.delays(short, start.arrived(short)).tolist() == [0, 1400, 1401, 4000]


def test_long_calls_may_begin_later(start):
    long = timings([5000, 10300, 10301], 5000, 100_000)
    assert start.late(long).tolist() == [0, 0, 1]


def test_what_is_late_for_a_call_is_not_for_a_batch_of_it(start):
    mine = timings([10300, 10301], 5000, 10_000)
    assert start.late(mine).tolist() == [1, 1]
    assert start.late(mine, batch=10).tolist() == [0, 1]


def test_without_an_agreed_start_nothing_is_late_but_behind_the_first(start):
    mine = timings([5000, 9000], 0, 100)
    assert start.late(mine).tolist() == [0, 0]
    first = np.array([-5800, -10000])  # of another rank: 5800, on rank 0's clock; then me
    most = np.maximum(start.arrived(mine), first)
    assert start.delays(mine, most).tolist() == [200, 0]


def test_a_clock_of_the_backends_own_says_nothing(start):
    nothing = timings([0, 0], 0, 100)
    assert start.late(nothing).tolist() == [0, 0]
    assert start.delays(nothing, start.arrived(nothing)).tolist() == [0, 0]


def test_without_a_yardstick_the_state_is_unknown(start):
    assert start.state(5).tolist() == [0, 0, 0]


def test_one_process_waits_for_nobody():
    alone = Start(ByClock())
    mine = timings([5000], 1, 100)
    assert alone.late(mine).tolist() == [0]
    assert alone.facts() == {"start": {"mode": "clock"}, "clocks": None, "ruler": None}


class Ticking:
    """A clock that a gate moves on by 1 us, and each look by 10 us."""

    error_ns, now = 0.0, 0

    def clock(self) -> int:
        self.now += 10_000
        return self.now


def test_a_rank_that_is_late_on_purpose_leaves_later_and_is_not_late():
    clocks, inner = Ticking(), ByClock()
    gate = LateGate(inner, 50_000, clocks.clock)
    gate()
    assert 60_000 <= clocks.now <= 80_000  # the first look, and those until 50 us are over
    assert (gate.mode, gate.agreed_ns, gate.facts()) == ("clock", 0, inner.facts())
    start = Start(gate, clocks, late_ns=50_000)
    too_late = timings([60_000, 70_000], 5_000, 100)
    assert start.late(too_late).tolist() == [1, 1]
    in_time = timings([55_100, 56_200], 5_000, 100)
    assert start.late(in_time).tolist() == [0, 0]
    assert start.delays(in_time, start.arrived(timings([], 0, 0))).tolist() == [50_100, 51_200]
