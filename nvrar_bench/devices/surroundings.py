"""What the machine does to its CPU ranks, without any backend: a yardstick, and what slows MPI.

The yardstick is read between calls. How long a flag takes from rank 0 to the last rank shows how
far apart the cores are; a copy of what a peer has just written, what moving data costs between
them; arithmetic on all ranks at once, how much of a core each has: a virtual core may share its own
with another guest, or with its neighbour.

What slows MPI is looked for once, as a speed-up then says less of NVRAR. Each finding is a warning
with every figure: what was seen, and what to do.
"""

from __future__ import annotations

import numpy as np

from nvrar_bench.devices import machine
from nvrar_bench.devices.gate import SharedGate, load_library
from nvrar_bench.devices.sharing import allocate
from nvrar_bench.timing.loop import MONOTONIC, Nanoseconds, Yardstick
from nvrar_bench.world import World, library_version

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
        f"{world.host}: a core writes {size}K that another core has read in {shared / 1e3:.0f} us, "
        f"its own in {own / 1e3:.1f} us: these cores are far apart, which every backend pays for; "
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
