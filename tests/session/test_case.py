"""One case on all backends: the order of calls, and what is checked between them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from nvrar_bench.devices.cpu import CpuDevice
from nvrar_bench.errors import TimedOut
from nvrar_bench.plan import Plan
from nvrar_bench.session.buffers import SweepBuffers
from nvrar_bench.session.case import TURNS, VERIFY_ORDER, CaseRun
from nvrar_bench.session.known import KnownInputs

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

    variant = "scripted"

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


@pytest.fixture
def run(alone):
    """Run one case; what was measured, and the events: g for the gate, then whose call it was."""

    def go(
        *names: str,
        iters: int = 3,
        warmup: int = 0,
        placement: str = "out_of_place",
        spoil: Callable[[int, Scripted], None] = lambda call, backend: None,
        check: bool = True,
    ):
        (case,) = Plan.build(counts=(COUNT,), placements=(placement,))
        device = CpuDevice(alone, 1.0)
        buffers = SweepBuffers(device, 4 * COUNT, "private").of(case)
        go.events, alive = [], []
        known = KnownInputs((case,), device, 0, with_results=check).of(case)
        gate, beat = (lambda: go.events.append("g")), (lambda: alive.append(len(go.events)))
        backends = [Scripted(name, go.events, spoil) for name in names]
        go.alive = alive
        return CaseRun(alone, case, buffers, known, gate, beat).run(backends, iters, warmup)

    return go


def test_every_call_passes_the_gate_and_backends_take_turns(run):
    run("a", "b", iters=12, warmup=2)
    calls = [event for event in run.events if event in "abg"]
    assert calls[::2] == ["g"] * (len(calls) // 2)
    order = "".join(calls[1::2])
    shares = [1, 1, 1, 1, 2, 1, 1, 1, 1, 2]
    turns = "".join("a" * (1 + share) + "b" * (1 + share) for share in shares)
    assert order == "aaaabbbb" + "aabb" + turns + "ab"
    assert run.events[:2] == ["prepare a", "prepare b"]
    assert run.events[-2:] == ["close a", "close b"]


def test_samples_are_those_of_the_timed_calls_in_order(run):
    (one,) = run("a", iters=3, warmup=2)
    # Calls 1 to 4 verify, 5 and 6 warm up; of every turn's calls the first is not timed.
    assert one.samples.tolist() == [8, 10, 12]
    assert len(run.alive) >= one.operation.calls


def test_there_are_at_most_so_many_turns(run):
    (one,) = run("a", iters=100)
    untimed = one.operation.calls - 100
    assert untimed == len(VERIFY_ORDER) + TURNS + 1


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
