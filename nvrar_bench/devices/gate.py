"""The start gates: in shared memory for the ranks of one machine, through MPI across machines.

By the clock, rank 0 waits for all ranks and then tells them a start that lies a *lead* ahead; each
spins until its clock shows it. How long the message takes to the last rank is measured when the
gate opens. The lead is four times its 99th percentile, but at most 20 times its median: what takes
longer are ranks that lost their core, and the longer all spin the more of them do.
"""

from __future__ import annotations

import ctypes
import os
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from nvrar_bench.devices.sharing import allocate, load_all
from nvrar_bench.errors import TimedOut
from nvrar_bench.timing.clocks import Clocks, relate
from nvrar_bench.timing.loop import Gate, Nanoseconds
from nvrar_bench.toolchain.kernel import START_GATE
from nvrar_bench.toolchain.structs import POINTER, CFailure, CGate
from nvrar_bench.world import World

MODES = ("auto", "clock", "barrier")
LEAST_LEAD_NS, LARGEST_LEAD_NS = 1_000, 1_000_000
LEAST_TOLERANCE_NS = 1_000
_PAGE_BYTES = 4096  # of each rank, for its flags
_LATER_S = 0.5  # rank 0 knows who is late, so it gives up first
_WARMUP, _PASSES = 10, 100  # of the gate, from which the lead is found
_LEAD_PER_P99, _LEAD_PER_MEDIAN = 4, 20
_TOLERATED_PART = 0.05  # of the figure that is measured
_START_IS_FAR = 2  # kernels/fabric/host_gate.cuh


def default_mode(world: World) -> str:
    """`clock`, or `barrier` where some machine has more processes than cores. Collective.

    A rank that spins until a time takes the core from the one that it waits for.
    """
    crowded = world.oversubscribed and not world.virtual_ranks
    return "barrier" if any(world.comm.allgather(crowded)) else "clock"


def open_gate(
    world: World, timeout: float, spin: int, mode: str = "auto", clocks: Clocks | None = None
) -> Gate:
    """Open the gate of all ranks, `spin` polls before a waiter gives up its core. Collective.

    `mode` is one of MODES (else ValueError). By the clock without `clocks`, they are related first.
    """
    if mode not in MODES:
        raise ValueError(f"{mode}: no such start; allowed: {', '.join(MODES)}")
    chosen = default_mode(world) if mode == "auto" else mode
    if chosen == "clock" and clocks is None:
        clocks = relate(world.comm, world.machine_of)
    kind = SharedGate if world.machines == 1 else MpiGate
    crowded = mode == "auto" and chosen == "barrier"
    reason = "a machine has more ranks than cores" if crowded else ""
    return kind(world, timeout, spin, clocks if chosen == "clock" else None, reason)


def late_tolerance_ns(clocks: Clocks, gate: Gate, figure_ns: float = 0.0) -> float:
    """How long after the agreed time this rank may begin a call before the call counts as late.

    What leaving the gate takes anyhow is no lateness. Beyond that it is 1 us and twice the error of
    this rank's clock, or 5 % of `figure_ns`, the time that is measured, whichever is larger.
    """
    unsure = LEAST_TOLERANCE_NS + 2 * clocks.error_ns
    return gate.leaving_ns + max(unsure, _TOLERATED_PART * figure_ns)


def load_library(world: World) -> ctypes.CDLL:
    """Load kernels/fabric/host_gate.cuh, built if need be. Collective."""
    return load_all(world, [START_GATE])[0]


class OpenGate(Gate):
    """A gate for one process: it waits for nobody."""

    def __call__(self) -> None:
        """Leave."""

    def facts(self) -> dict[str, Any]:
        return {"mode": self.mode, "through": "nothing: one process"}


class _ClockedGate(Gate):
    """A gate of either mode; by the clock its constructor measures the lead."""

    through: str

    def __init__(self, world: World, clocks: Clocks | None, reason: str) -> None:
        self._world, self.clocks = world, clocks
        self.reason = reason  # why `auto` became a barrier
        self.mode = "barrier" if clocks is None else "clock"
        self.lead_ns = 0  # from the moment when rank 0 knows that all have come to the start
        self.propagation_ns = 0.0, 0.0  # median and 99th percentile of what the lead must cover

    @property
    @abstractmethod
    def left_ns(self) -> int:
        """When this rank left, by the clock, on its own clock; inside the gate."""

    def _settle(self) -> None:
        """Measure how long the start takes to all ranks, and what leaving costs. Collective.

        With no lead, whoever hears of the start is late by just the time that it took. The last
        step of a constructor; a barrier has nothing to settle.
        """
        if self.clocks is None:
            return
        from mpi4py import MPI

        lags = self._lags(lambda: self.left_ns)
        # The rank that hears last decides.
        self._world.comm.Allreduce(MPI.IN_PLACE, lags, MPI.MAX)
        self.propagation_ns = (float(np.median(lags)), float(np.percentile(lags, 99)))
        self._use_lead(lead_of(*self.propagation_ns))
        # What disturbs a rank only ever adds.
        leaving = np.array([round(float(np.percentile(self._lags(self.clocks.clock), 10)))])
        self._world.comm.Allreduce(MPI.IN_PLACE, leaving, MPI.MAX)
        self.leaving_ns = float(leaving[0])

    @contextmanager
    def without_lead(self) -> Iterator[None]:
        """While inside, rank 0 sets starts that are now: the others hear of them too late."""
        lead_ns = self.lead_ns
        self._use_lead(0)
        try:
            yield
        finally:
            self._use_lead(lead_ns)

    def lag_ns(self) -> int:
        """Pass, and say how long after the agreed start this rank left."""
        self()
        return self.left_ns - self.agreed_ns

    def _use_lead(self, lead_ns: int) -> None:
        self.lead_ns = lead_ns

    def _lags(self, now: Callable[[], int]) -> Nanoseconds:
        """What `now` says beyond the agreed time, after each of some passes."""
        lags = np.zeros(_WARMUP + _PASSES, np.int64)
        for i in range(len(lags)):
            self()
            lags[i] = now() - self.agreed_ns
        return lags[_WARMUP:]

    def facts(self) -> dict[str, Any]:
        """Mode, how it is done, lead and what it was found from, microseconds."""
        facts: dict[str, Any] = {"mode": self.mode, "through": self.through}
        if self.reason:
            facts["reason"] = self.reason
        if self.mode == "clock":
            facts |= {
                "lead_us": self.lead_ns / 1e3,
                "propagation_us": {
                    "median": self.propagation_ns[0] / 1e3,
                    "p99": self.propagation_ns[1] / 1e3,
                },
                "leaving_us": self.leaving_ns / 1e3,
            }
        return facts


def lead_of(median_ns: float, p99_ns: float) -> int:
    """The lead for a start that takes so long to the last rank."""
    wanted = round(min(_LEAD_PER_P99 * p99_ns, _LEAD_PER_MEDIAN * median_ns))
    return min(max(wanted, LEAST_LEAD_NS), LARGEST_LEAD_NS)


class SharedGate(_ClockedGate):
    """The gate of kernels/fabric/host_gate.cuh; collective over the machine."""

    through = "shared memory"

    def __init__(
        self, world: World, timeout: float, spin: int, clocks: Clocks | None, reason: str = ""
    ) -> None:
        super().__init__(world, clocks, reason)
        library = load_library(world)
        self._memory = allocate(world.host_comm, _PAGE_BYTES)
        self._table = (POINTER * world.comm.size)(*self._memory.addresses)
        self._failure, ahead_ns = CFailure(), 0
        if clocks is not None:
            now = clocks.clock()
            ahead_ns = clocks.to_own(now) - now  # a constant on one machine
        self._gate = CGate(
            flags=ctypes.addressof(self._table),
            ranks=world.comm.size,
            rank=world.rank,
            round=0,
            spin=spin,
            # Rank 0 knows who is late; the others only know that rank 0 has not opened.
            timeout_ns=int((timeout + (_LATER_S if world.rank else 0)) * 1e9),
            failure=ctypes.pointer(self._failure),
            by_clock=clocks is not None,
            ahead_ns=ahead_ns,
        )
        self._pass, self._time = library.nvrar_pass_gate, library.nvrar_time_call
        self._pointer = ctypes.byref(self._gate)
        self._settle()

    def __call__(self) -> None:
        self._go(self._pass)

    def time_call(self, call: Any) -> None:
        """Wait for all ranks, leave, and time `call`, a reference to a CCall, at once."""
        self._go(self._time, call)

    def _go(self, function: Callable[..., object], *arguments: Any) -> None:
        self._gate.round += 1
        function(self._pointer, *arguments)
        if self._failure.code == _START_IS_FAR:
            raise _far(self._world, (self._gate.agreed_ns - self._gate.left_ns) / 1e9)
        if self._failure.code:
            raise TimedOut(f"the start gate waited in vain for rank {self._failure.peer}")

    @property
    def agreed_ns(self) -> int:
        return int(self._gate.agreed_ns)

    @property
    def left_ns(self) -> int:
        return int(self._gate.left_ns)

    def _use_lead(self, lead_ns: int) -> None:
        super()._use_lead(lead_ns)
        self._gate.lead_ns = lead_ns


class MpiGate(_ClockedGate):
    """A barrier of MPI; by the clock, rank 0 then broadcasts the start."""

    through = "MPI"

    def __init__(
        self, world: World, timeout: float, spin: int, clocks: Clocks | None, reason: str = ""
    ) -> None:
        super().__init__(world, clocks, reason)
        self._limit_ns, self._spin = int(timeout * 1e9), spin
        self._word = np.zeros(1, np.int64)
        self._agreed = self._left = 0
        self._settle()

    def __call__(self) -> None:
        self._world.comm.Barrier()
        if self.clocks is not None:
            self._leave_by_clock(self.clocks)

    def _leave_by_clock(self, clocks: Clocks) -> None:
        word, clock = self._word, clocks.clock
        if self._world.rank == 0:
            word[0] = clock() + self.lead_ns
        self._world.comm.Bcast(word)
        self._agreed = agreed = clocks.to_own(int(word[0]))
        now = clock()
        if agreed - now > self._limit_ns:
            raise _far(self._world, (agreed - now) / 1e9)
        while now < agreed:
            if not self._spin:
                os.sched_yield()
            now = clock()
        self._left = now

    @property
    def agreed_ns(self) -> int:
        return self._agreed

    @property
    def left_ns(self) -> int:
        return self._left


def _far(world: World, seconds: float) -> TimedOut:
    return TimedOut(
        f"the start that rank 0 set lies {seconds:.3g} s ahead on rank {world.rank} on "
        f"{world.host}: their clocks do not agree; --start barrier needs none"
    )
