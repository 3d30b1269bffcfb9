"""Points in turns: the order of calls, and what is checked between them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import pytest

from nvrar_bench.devices.cpu import CpuDevice
from nvrar_bench.errors import TimedOut
from nvrar_bench.run.buffers import KnownInputs, SweepBuffers
from nvrar_bench.run.point_group import (
    LEAST_PASSES,
    MOST_OF_STRETCH,
    MOST_PASSES,
    VERIFY_ORDER,
    PointGroup,
    TurnOrder,
)
from nvrar_bench.run.starts import Start
from nvrar_bench.settings.plans import build_plan
from nvrar_bench.timing.loop import MONOTONIC, Gate, Yardstick
from nvrar_bench.timing.stopping import TURNS, Stopping

COUNT = 50


class Scripted:
    """A backend for one rank whose calls take 1, 2, 3, ... ns and which may spoil one of them."""

    def __init__(self, name: str, events: list, spoil: Callable[[int, object], None]) -> None:
        self.name, self.events, self.spoil = name, events, spoil
        self.calls, self.now = 0, 0

    def prepare(self, case, send, recv) -> Scripted:
        self.send, self.recv = send, recv
        self.events.append(f"prepare {self.name}")
        return self

    variant, native = "scripted", None

    def clock(self) -> int:
        return self.now

    def launch(self) -> None:
        self.events.append(self.name)
        self.poisoned = bool(np.isnan(self.recv).any())
        self.recv[:] = self.send
        self.spoil(self.calls, self)
        self.calls += 1
        self.now += self.calls

    def close(self) -> None:
        self.events.append(f"close {self.name}")


class Timed(Scripted):
    """One whose calls are timed by the machine's clock."""

    clock = staticmethod(MONOTONIC)


class Recorded(Gate):
    """A gate for one rank."""

    def __init__(self, events: list) -> None:
        self.events = events

    def __call__(self) -> None:
        self.events.append("g")


@pytest.fixture
def run(alone):
    """Run a block; its points, and the events: g for the gate, then whose call it was."""

    def go(
        *names: str,
        iters: int = 3,
        warmup: int = 0,
        placement: str = "out_of_place",
        spoil: Callable[[int, Scripted], None] = lambda call, backend: None,
        check: bool = True,
        counts: tuple[int, ...] = (COUNT,),
        stop_at_wrong: bool = False,
        seed: int = 0,
        yardstick: Yardstick | None = None,
        kind: type[Scripted] = Scripted,
        batch: int = 1,
    ):
        cases = build_plan(counts=counts, placements=(placement,))
        device = CpuDevice(alone, 1.0)
        buffers = SweepBuffers(device, 4 * max(counts), "private")
        go.events, go.alive, go.watched, go.told = [], [], [], []
        known = KnownInputs(cases, device, 0, with_results=check)

        def watch(case):
            go.watched.append(case.count)
            return nullcontext()

        block = PointGroup(
            device, Start(Recorded(go.events), yardstick=yardstick), watch,
            lambda: go.alive.append(len(go.events)), lambda *done: go.told.append(done),
        )  # fmt: skip
        for case in cases:
            backends = [kind(name, go.events, spoil) for name in names]
            rule = Stopping(iters).rule
            block.add(case, backends, buffers.of(case), known.of(case), rule, batch)
        block.run(warmup, TurnOrder(seed, 0, 0), stop_at_wrong=stop_at_wrong)
        return block.points

    return go


def _turns(calls: str, lengths: dict[str, list[int]]) -> list[str]:
    """Cut calls into turns: whose they are, in order; each has one call that is not timed."""
    whose, left = [], {name: iter(of) for name, of in lengths.items()}
    while calls:
        turn = 1 + next(left[calls[0]])
        assert calls[:turn] == calls[0] * turn
        whose.append(calls[0])
        calls = calls[turn:]
    return whose


def test_every_call_passes_the_gate_and_backends_take_turns(run):
    run("a", "b", iters=24, warmup=2)
    calls = [event for event in run.events if event in "abg"]
    assert calls[::2] == ["g"] * (len(calls) // 2)
    order = "".join(calls[1::2])
    start, end = "aaaabbbb" + "aabb", "ab"
    assert (order[: len(start)], order[-len(end) :]) == (start, end)
    shares = [1, 1, 1, 1, 2] * 4
    turns = _turns(order[len(start) : -len(end)], {"a": shares, "b": shares})
    rounds = ["".join(turns[i : i + 2]) for i in range(0, len(turns), 2)]
    assert len(rounds) == TURNS
    assert set(rounds) == {"ab", "ba"}  # in every round both, in either order
    assert run.events[:2] == ["prepare a", "prepare b"]
    assert run.events[-2:] == ["close a", "close b"]


def test_sizes_take_turns_too_and_the_seed_makes_the_order_again(run):
    def order(seed: int) -> list[int]:
        run("a", counts=(50, 20, 3), iters=TURNS, seed=seed)
        return run.watched[3:-3]  # less the verified calls before and after

    first = order(5)
    turns = first[-3 * TURNS :]
    assert sorted(turns) == sorted([50, 20, 3] * TURNS)
    rounds = [tuple(turns[i : i + 3]) for i in range(0, len(turns), 3)]
    assert all(sorted(each) == [3, 20, 50] for each in rounds)
    assert len(set(rounds)) > 2
    assert order(5) == first
    assert order(6) != first


def test_samples_are_those_of_the_timed_calls_in_order(run):
    (one,) = run("a", iters=3, warmup=2)
    # Calls 1 to 4 verify, 5 and 6 warm up; of every turn's calls the first is not timed.
    assert one.durations.tolist() == [8, 10, 12]
    assert len(run.alive) >= one.operation.calls
    assert run.told == [(0, 1)] * 3 + [(1, 1)]


def test_a_sample_is_the_mean_of_a_batch_behind_one_start(run):
    (one,) = run("a", iters=2, batch=3)
    # As above, without warm-up: calls 6, 7, 8 and 10, 11, 12 are timed.
    assert one.durations.tolist() == [7, 11]
    assert (
        "".join(event for event in run.events if event in "ag") == "gaga" * 2 + "gagaaa" * 2 + "ga"
    )


@pytest.mark.parametrize(("placement", "batch"), [("in_place", 3), ("out_of_place", 3)])
def test_the_output_of_every_turn_is_checked_whatever_a_batch_left(run, placement, batch):
    """In place that is a call of its own, with fresh inputs; else the last that was timed."""
    (one,) = run("a", iters=2, placement=placement, batch=batch)
    timed = one.checks_what_is_timed
    assert timed == (placement == "out_of_place")
    assert len(one.checks) == len(VERIFY_ORDER) + 2 + 1
    assert not one.wrong()
    assert one.operation.calls == len(VERIFY_ORDER) + 2 * (1 + batch + (not timed)) + 1


@pytest.mark.parametrize("placement", ["in_place", "out_of_place"])
def test_a_wrong_call_behind_a_turn_is_found(run, placement):
    def spoil(call, backend):
        if call == len(VERIFY_ORDER) + (4 if placement == "in_place" else 3):
            backend.recv[7] += 1

    (one,) = run("a", iters=1, placement=placement, batch=3, spoil=spoil)
    assert one.wrong() == 1


def test_there_are_at_most_so_many_turns(run):
    (one,) = run("a", iters=100)
    untimed = one.operation.calls - 100
    assert untimed == len(VERIFY_ORDER) + TURNS + 1


class Ages(Yardstick):
    """Says how often it was read, but for the third thing, which it does not know at first."""

    def __init__(self) -> None:
        self.passes: list[int] = []

    def read(self, passes):
        self.passes.append(passes)
        count = len(self.passes)
        return np.array([count, 10 * count, 100 * (count > 1)])


def test_turns_lie_between_readings_of_the_yardstick_and_long_ones_hold_some(run):
    ages = Ages()
    calls = TURNS * (MOST_OF_STRETCH + 1)
    (one,) = run("a", iters=calls, yardstick=ages, kind=Timed)
    assert [turn.stretches.tolist() for turn in one.turns] == [[MOST_OF_STRETCH, 1]] * TURNS
    # The mean of what was read before and behind; the next turn begins where the last one ended.
    assert one.turns[0].states.tolist() == [[1, 15, 0], [2, 25, 100]]
    assert one.turns[1].states.tolist() == [[3, 35, 100], [4, 45, 100]]
    assert ages.passes == [MOST_PASSES] * (1 + 2 * TURNS)
    untimed = one.operation.calls - calls
    assert untimed == len(VERIFY_ORDER) + 2 * TURNS + 1  # one call in each stretch
    assert one.stretches.samples.sum() == len(one.durations) == calls
    assert np.isnan(one.stretches.readings_us[0]).tolist() == [False, False, True]


@pytest.mark.parametrize(("calls", "passes"), [(1, LEAST_PASSES), (10, 20), (13, MOST_PASSES)])
def test_short_turns_are_worth_few_passes(run, calls, passes):
    ages = Ages()
    first, second = run("a", "b", iters=TURNS * calls, yardstick=ages, kind=Timed)
    assert ages.passes == [passes] * (1 + 2 * TURNS)
    assert len(first.turns) == len(second.turns) == TURNS


def test_a_clock_of_its_own_does_not_go_by_the_state_of_the_machine(run):
    class Unread(Yardstick):
        def read(self, passes):
            raise AssertionError

    (one,) = run("a", yardstick=Unread())
    assert np.isnan(one.stretches.readings_us).all()


def test_a_wrong_result_ends_the_block_with_a_sample_of_it(run):
    def spoil(number: int, backend: Scripted) -> None:
        if backend.name == "b":
            backend.recv[17] += 1

    (one,) = run("a", "b", iters=50, warmup=3, spoil=spoil, stop_at_wrong=True)
    assert (one.backend, len(one.durations), one.wrong() > 0) == ("b", 1, True)
    assert {event for event in run.events if event.startswith("close")} == {"close a", "close b"}


def test_a_wrong_turn_ends_the_block_with_all_samples_so_far(run):
    def spoil(number: int, backend: Scripted) -> None:
        if number >= 12:
            backend.recv[17] += 1

    points = run("a", "b", iters=50, spoil=spoil, stop_at_wrong=True)
    assert [point.stop_reason for point in points] == ["unfinished"] * 2
    assert any(point.wrong() for point in points)
    assert all(len(point.durations) < 50 for point in points)


def test_all_is_checked_before_after_and_at_every_turn(run):
    (one,) = run("a", iters=3)
    assert [check.status for check in one.checks] == ["passed"] * (4 + 3 + 1)
    assert {check.elements for check in one.checks} == {COUNT}
    assert not one.canary_broken


@pytest.mark.parametrize("call", [0, 1, 2, 3, 5, 9, 10])
@pytest.mark.parametrize("placement", ["out_of_place", "in_place"])
def test_one_wrong_element_is_found_in_calls_that_are_looked_at(run, call, placement):
    def spoil(number: int, backend: Scripted) -> None:
        if number == call:
            backend.recv[17] += 1

    (one,) = run("a", iters=3, placement=placement, spoil=spoil)
    # Calls 4, 6 and 8 are untimed ones, which the timed call after them writes over.
    assert [check.wrong for check in one.checks].count(1) == 1
    assert [check.first_wrong["index"] for check in one.checks if check.wrong] == [17]


@pytest.mark.parametrize("call", [0, 3, 7, 10])
def test_memory_around_the_output_is_watched(run, call):
    def spoil(number: int, backend: Scripted) -> None:
        if number == call:
            np.lib.stride_tricks.as_strided(backend.recv, (COUNT + 1,))[COUNT] += 1

    (one,) = run("a", iters=3, spoil=spoil)
    assert one.canary_broken
    assert not any(check.wrong for check in one.checks)


def test_a_call_that_does_nothing_is_not_taken_for_right(run):
    """Not the verified ones, and not a turn of timed ones either."""
    results: list[bool] = []

    def spoil(number: int, backend: Scripted) -> None:
        results.append(backend.poisoned)

    run("a", "b", iters=3, spoil=spoil)
    verified, turns = 4, 3
    looks = [results[call] for call in range(verified)]
    assert looks == [True] * verified
    # Two backends, each with a first call per turn that finds poison where the result will be.
    assert results.count(True) == 2 * (verified + turns + 1)


def test_without_the_check_nothing_is_compared(run):
    def spoil(number: int, backend: Scripted) -> None:
        backend.recv[:] = 0

    (one,) = run("a", check=False, spoil=spoil)
    assert one.checks == []


def test_in_place_every_call_gets_its_input_anew(run):
    seen = []

    def spoil(number: int, backend: Scripted) -> None:
        seen.append(backend.recv.tobytes())
        backend.recv += 1  # an all-reduce consumes its input in place

    run("a", iters=3, warmup=1, placement="in_place", spoil=spoil)
    second, first = seen[0], seen[2]
    assert first != second
    assert seen == [second] * 2 + [first] * (len(seen) - 2)


def test_operations_are_closed_when_a_call_fails(run):
    def spoil(number: int, backend: Scripted) -> None:
        if number == 6:
            raise TimedOut("a peer is late")

    with pytest.raises(TimedOut):
        run("a", "b", spoil=spoil)
    assert run.events[-2:] == ["close a", "close b"]
