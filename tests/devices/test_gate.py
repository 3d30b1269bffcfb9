"""The start gates, on real ranks in both modes, and what a rank does alone."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nvrar_bench.devices.cpu import CpuDevice
from nvrar_bench.devices.gate import (
    LARGEST_LEAD_NS,
    LEAST_LEAD_NS,
    OpenGate,
    default_mode,
    late_tolerance_ns,
    lead_of,
)
from nvrar_bench.errors import TimedOut
from nvrar_bench.statistics.machine_states import YARDSTICKS
from nvrar_bench.timing.clocks import relate
from nvrar_bench.timing.loop import MONOTONIC

WORKER = Path(__file__).parent / "worker_gate.py"
KINDS = ("clock", "barrier", "asleep barrier", "mpi clock", "mpi barrier")


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_nobody_leaves_before_the_last_has_come_nor_before_the_agreed_time(run_ranks, ranks):
    # Ranks that spin for each other's sake need long where others want their cores.
    done = run_ranks(ranks, WORKER, "passes", timeout=250.0)
    assert done.code == 0, done.stderr[-4000:]
    everyone = done.record()
    for kind in KINDS:
        seen = [rank[kind] for rank in everyone]
        assert [one["behind"] for one in seen] == [0] * ranks, kind
        assert [one["early"] for one in seen] == [0] * ranks, kind
        by_clock = kind.endswith("clock")
        assert {one["mode"] for one in seen} == {"clock" if by_clock else "barrier"}
        assert all(np.diff(one["agreed"]).min() > 0 for one in seen) == by_clock
        # Across machines each agreed time has gone through a conversion and back.
        rounding = 2 if kind.startswith("mpi") else 0
        assert np.ptp([one["agreed"] for one in seen], axis=0).max() <= rounding, kind
        assert len({one["leaving"] for one in seen}) == 1
        _require_facts(seen[0], kind)
    agreed, lateness = zip(*(rank["timed"] for rank in everyone), strict=True)
    assert [row == agreed[0] for row in agreed] == [True] * ranks
    assert np.min(lateness) >= 0
    _require_what_auto_says(everyone[0]["auto"], ranks)
    for readings, is_absent, before, after in (rank["yardstick"] for rank in everyone):
        assert np.shape(readings) == (3, len(YARDSTICKS))
        assert (np.array(readings) > 0).all()
        assert is_absent  # at a barrier, and on several machines
        assert before == after > 0  # the lead comes back


def _require_facts(one: dict, kind: str) -> None:
    facts = one["facts"]
    assert facts["through"] == ("MPI" if kind.startswith("mpi") else "shared memory")
    if kind.endswith("barrier"):
        assert facts.keys() == {"mode", "through"}
        return
    assert LEAST_LEAD_NS <= facts["lead_us"] * 1e3 <= LARGEST_LEAD_NS
    assert 0 < facts["propagation_us"]["median"] <= facts["propagation_us"]["p99"]
    assert facts["leaving_us"] == one["leaving"] / 1e3 > 0


def _require_what_auto_says(facts: dict, ranks: int) -> None:
    if ranks <= len(os.sched_getaffinity(0)):
        assert (facts["mode"], "reason" in facts) == ("clock", False)
    else:
        assert facts["mode"] == "barrier"
        assert facts["reason"] == "a machine has more ranks than cores"


@pytest.mark.slow
def test_a_rank_that_is_stopped_is_named_when_the_time_is_over(run_ranks):
    done = run_ranks(3, WORKER, "stopped")
    assert done.code == 0, done.stderr[-4000:]
    first, second, late = done.record()
    assert first == ["the start gate waited in vain for rank 2"] * 2
    assert second == late == ["the start gate waited in vain for rank 0"] * 2


@pytest.mark.parametrize("mode", ["auto", "clock", "barrier"])
def test_one_rank_passes_its_gate(alone, mode):
    gate = CpuDevice(alone, 1.0).start_gate(mode)
    for _ in range(3):
        gate()
        assert (0 < gate.agreed_ns <= MONOTONIC()) == (mode != "barrier")


def test_a_start_that_does_not_exist_is_refused(alone):
    with pytest.raises(ValueError, match=r"^soon: no such start; allowed: auto, clock, barrier$"):
        CpuDevice(alone, 1.0).start_gate("soon")


def test_a_gate_for_one_process_waits_for_nobody():
    gate = OpenGate()
    gate()
    assert (gate.mode, gate.agreed_ns) == ("barrier", 0)
    assert gate.facts() == {"mode": "barrier", "through": "nothing: one process"}


class Peers:
    """A communicator whose other ranks all say `answer`, and whose messages come back."""

    rank, size = 0, 1

    def __init__(self, answer: bool = False) -> None:
        self.answer = answer

    def allgather(self, value):
        return [value, self.answer]

    def Barrier(self):  # noqa: N802 - MPI's name
        """All are here."""

    def Bcast(self, word):  # noqa: N802
        """Rank 0's own."""


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_machine_with_more_ranks_than_cores_takes_the_barrier_on_all(alone, elsewhere):
    class Two:
        size = 2

    crowded = replace(alone, comm=Peers(elsewhere), host_comm=Two())
    assert default_mode(crowded) == "barrier"
    assert default_mode(replace(crowded, cores=2)) == ("barrier" if elsewhere else "clock")


def test_virtual_ranks_are_one_process(alone):
    assert default_mode(alone.with_virtual_ranks(8)) == "clock"


def test_the_lead_covers_the_message_within_bounds():
    assert lead_of(100, 200) == LEAST_LEAD_NS
    assert lead_of(300, 500) == 2_000
    assert lead_of(300, 50_000) == 6_000  # a rank lost its core
    assert lead_of(400_000, 500_000) == LARGEST_LEAD_NS


class Astray:
    """A relation of clocks that is an hour off once asked to be."""

    clock, error_ns = staticmethod(MONOTONIC), 700.0
    off = 0

    def to_own(self, rank0_ns):
        return rank0_ns + self.off


@pytest.mark.parametrize("machines", [1, 2])
def test_a_start_beyond_the_deadline_is_refused(alone, machines):
    world = replace(alone, hosts=("here",) * machines, machine_of=tuple(range(machines)))
    world = replace(world, comm=_WithReduce() if machines > 1 else alone.comm)
    clocks = Astray()
    if machines == 1:
        clocks.off = 3600 * 10**9
        with pytest.raises(TimedOut, match=r"lies 3\.6e\+03 s ahead on rank 0 on here: their clo"):
            CpuDevice(world, 1.0).start_gate("clock", clocks)
        return
    gate = CpuDevice(world, 1.0).start_gate("clock", clocks)
    gate()
    clocks.off = 3600 * 10**9
    with pytest.raises(TimedOut, match=r"lies 3\.6e\+03 s ahead on rank 0 on here: their clocks"):
        gate()


class _WithReduce(Peers):
    def Allreduce(self, send, recv, op):  # noqa: N802
        """One rank's values are the result."""


def test_lateness_begins_beyond_what_leaving_and_the_clocks_explain(alone):
    clocks, gate = Astray(), CpuDevice(alone, 1.0).start_gate("clock")
    gate.leaving_ns = 300.0
    assert late_tolerance_ns(clocks, gate) == 300 + 1_000 + 2 * 700
    assert late_tolerance_ns(clocks, gate, 40_000) == 300 + 2_400
    assert late_tolerance_ns(clocks, gate, 100_000) == 300 + 5_000
    shared = relate(alone.comm, alone.machine_of)
    assert late_tolerance_ns(shared, gate) == 300 + 1_000
