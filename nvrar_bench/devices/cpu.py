"""The CPU device: host memory, the monotonic clock, and what the machine does to its ranks.

What the machine does is seen without any backend. A yardstick is read between calls. How long a
flag takes from rank 0 to the last rank shows how far apart the cores are; a copy of what a peer has
just written, what moving data costs between them; arithmetic on all ranks at once, how much of a
core each has: a virtual core may share its own with another guest, or with its neighbour.

What slows MPI is looked for once, as a speed-up then says less of NVRAR. Each finding is a warning
with every figure: what was seen, and what to do.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import Any

import numpy as np

from nvrar_bench import verify
from nvrar_bench.devices import machine
from nvrar_bench.devices.base import Device, Verifier
from nvrar_bench.devices.gate import SharedGate, load_library, open_gate
from nvrar_bench.devices.machine import cpu_model
from nvrar_bench.devices.native import CacheFlush, CpuTimer, HostWorks
from nvrar_bench.devices.operation import NativeSequence, Operation
from nvrar_bench.devices.sharing import HostMemory, allocate, rows_of
from nvrar_bench.timing.clocks import Clocks
from nvrar_bench.timing.loop import MONOTONIC, Gate, Nanoseconds, Yardstick
from nvrar_bench.verify import Expected, Findings, KnownReduction
from nvrar_bench.verify.recipe import HostArray
from nvrar_bench.world import World, library_version

_WORD = np.dtype(np.uint64)
# Polls before a waiter gives up its core. With more ranks than cores the rank waited for may need
# this very core, so every poll is wasted; one look is kept because the answer is often there.
SPIN = 4000
SPIN_OVERSUBSCRIBED = 0


def polls_before_yield(world: World) -> int:
    """How long a waiter spins on this machine."""
    return SPIN_OVERSUBSCRIBED if world.oversubscribed else SPIN


class HostVerifier(Verifier):
    """The rules of verify/, for every seat."""

    def __init__(self, world: World) -> None:
        self._world = world

    def inputs(self, known: KnownReduction, count: int) -> HostArray:
        """Compute them; a single seat has no row of its own."""
        of_seats = [known.inputs(rank, count) for rank in self._world.seats]
        return np.stack(of_seats) if self._world.virtual_ranks else of_seats[0]

    def expected(self, known: KnownReduction, count: int) -> Expected:
        return known.expected(count)

    def spoil(
        self, output: HostArray, around: Sequence[HostArray] = (), *, poison: bool = True
    ) -> None:
        if poison:
            verify.poison(output)
        for view in around:
            for row in rows_of(view):
                verify.write_canary(row)

    def read(self, output: HostArray) -> bool:
        """Take its bytes into this core's cache: peers have written them from theirs."""
        for row in rows_of(output):
            words = row.view(np.uint8)[: row.nbytes // _WORD.itemsize * _WORD.itemsize]
            np.bitwise_or.reduce(words.view(_WORD), initial=0)
        return True

    def check(
        self, received: HostArray, expected: Expected, around: Sequence[HostArray] = ()
    ) -> Findings:
        results = [
            verify.check(row, expected, len(row), rank)
            for rank, row in zip(self._world.seats, rows_of(received), strict=True)
        ]
        rows = (row for view in around for row in rows_of(view))
        return Findings(results, all(map(verify.canary_intact, rows)))


class CpuDevice(Device):
    """Host memory and the cores of this process.

    `cold_cache` flushes the caches before each sample; the constructor is then collective.
    """

    name = "cpu"

    def __init__(self, world: World, timeout: float, *, cold_cache: bool = False) -> None:
        super().__init__(world, timeout)
        self.memory, self.verifier = HostMemory(world), HostVerifier(world)
        self._flush = CacheFlush.of_ranks(world.host_comm) if cold_cache else None
        self.timer = CpuTimer(world, self._flush)
        self.spin = polls_before_yield(world)
        self.works = HostWorks(world, timeout, self.memory)
        self._problems: tuple[str, ...] = ()

    def start_gate(self, mode: str = "auto", clocks: Clocks | None = None) -> Gate:
        """On one machine a gate in shared memory; across machines one through MPI."""
        return open_gate(self.world, self.timeout, self.spin, mode, clocks)

    def yardstick(self, gate: Gate) -> Yardstick | None:
        """Return one where all ranks are processes of one machine that begin by the clock."""
        is_one_machine = self.world.machines == 1 and not self.world.virtual_ranks
        if is_one_machine and isinstance(gate, SharedGate) and gate.mode == "clock":
            return CpuYardstick(self.world, gate)
        return None

    def finish(self, operation: Operation) -> None:
        """A call of a CPU operation is done when it returns."""

    def sequence(self, parts: Sequence[Operation], *, graph: bool = True) -> Operation:
        if all(part.native for part in parts):
            return NativeSequence(parts, load_library(self.world))
        return super().sequence(parts, graph=graph)

    def facts(self) -> dict[str, Any]:
        """Whether caches are cold, and what was walked over to make them so; what works read."""
        cold = {"cold_cache": False} if self._flush is None else self._flush.facts()
        return {**cold, **self.works.facts}

    def examine(self) -> None:
        """Look at /dev/shm, the CPU quota and how far apart cores are, for `warnings`."""
        if not self.world.virtual_ranks:
            self._problems = problems(self.world)

    def warnings(self) -> tuple[str, ...]:
        """More ranks than cores: they wait for cores as well; and what `examine` found."""
        if not self.world.oversubscribed or self.world.virtual_ranks:
            return self._problems
        return (
            *self._problems,
            f"{self.world.local_ranks} ranks share {self.world.cores} cores: latencies include "
            "waiting for a core; run one rank per core",
        )

    @property
    def processor(self) -> tuple[str, str]:
        return cpu_model(), platform.machine()


PROBED_BYTES = 64 << 10
_PASSES = 31
# One core of an EPYC, to lines that its neighbour had read: 5 times as long as to its own, and in
# another state of the same virtual machine, in which MPI_Allreduce took 2.7 times as long, 20.
FAR_APART = 10.0
COPIED_BYTES = 65_536
WORK_STEPS = 1500
_LONGEST = 3  # times the median of all


def problems(world: World) -> tuple[str, ...]:
    """All that is wrong on the machines of a run, each once; collective over all ranks."""
    apart, ranks = _apart(world), int(world.host_comm.size)
    found: list[str | None] = []
    if world.host_comm.rank == 0:
        uses_shm = ranks > 1 and library_version().startswith("Open MPI")
        found = [machine.shm_problem() if uses_shm else None, machine.quota_problem(ranks)]
    mine = [f"{world.host}: {problem}" for problem in found if problem]
    everyone = world.comm.allgather([*mine, *([apart] if apart else [])])
    return tuple(dict.fromkeys(text for texts in everyone for text in texts))


def _apart(world: World) -> str | None:
    """Say on the first rank of a machine if its cores are far apart; collective over it."""
    if world.host_comm.size < 2 or world.oversubscribed:
        return None
    shared, own = write_costs(world)
    if world.host_comm.rank or shared < FAR_APART * own:
        return None
    size = PROBED_BYTES >> 10
    return (
        f"{world.host}: these cores are far apart, which slows every backend: a core writes "
        f"{size}K that another has read in {shared / 1e3:.0f} us, its own in {own / 1e3:.1f} us; "
        "repeat the run later, or on cores that share a cache"
    )


def write_costs(world: World) -> tuple[float, float]:
    """Return how long a rank writes PROBED_BYTES, ns: that its neighbour has read, and again.

    Medians; collective over a machine of two ranks and more. Only the first rank knows.
    """
    comm = world.host_comm
    memory = allocate(comm, PROBED_BYTES)
    written, here = memory.bytes_of(0), np.zeros(PROBED_BYTES, np.uint8)
    seen = np.zeros((2, _PASSES))
    for i in range(_PASSES):
        if comm.rank == 1:
            here[:] = written
        comm.Barrier()
        if comm.rank == 0:
            seen[:, i] = _write(written, i), _write(written, i + 1)
        comm.Barrier()
    shared, own = np.median(seen, axis=1)
    return float(shared), float(own)


def _write(target: np.ndarray, value: int) -> int:
    start = MONOTONIC()
    target[:] = value
    return MONOTONIC() - start


class CpuYardstick(Yardstick):
    """Of ranks of one machine, to be read between calls; collective, like the gate that it passes.

    A rank that is alone copies its own bytes.
    """

    def __init__(self, world: World, gate: SharedGate) -> None:
        self._gate = gate
        # Two, in turns: what one pass writes nobody reads until all have left the pass after it.
        memory = allocate(world.host_comm, 2 * COPIED_BYTES)
        neighbour = (memory.rank + 1) % len(memory.addresses)
        self._own, self._peers = (np.split(memory.bytes_of(r), 2) for r in (memory.rank, neighbour))
        self._here = np.zeros(COPIED_BYTES, np.uint8)
        self._do_work = load_library(world).nvrar_do_work

    def read(self, passes: int) -> Nanoseconds:
        """What it says on this rank, shape (3,), in the order of states.YARDSTICKS.

        Means of `passes`, since what shares a core comes and goes within microseconds.
        """
        seen = np.zeros((3, passes), np.int64)
        here, do_work, steps = self._here, self._do_work, WORK_STEPS
        with self._gate.without_lead():
            for i in range(passes):
                self._own[i % 2][:] = here
                seen[0, i] = self._gate.lag_ns()
                peers, start = self._peers[i % 2], MONOTONIC()
                here[:] = peers
                copied = MONOTONIC()
                do_work(steps)
                seen[1:, i] = copied - start, MONOTONIC() - copied
        return np.array([_mean(each) for each in seen], np.int64)


def _mean(passes: Nanoseconds) -> float:
    """Return the mean; a pass in which a rank lost its core counts as a long one, no more."""
    return float(np.minimum(passes, _LONGEST * np.median(passes)).mean())
