"""What around the CPU ranks of a machine makes MPI slow, so that a speed-up says less of NVRAR.

Each is a warning with every figure: what was seen, and what to do.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nvrar_bench.devices import machine
from nvrar_bench.devices.shared_memory import allocate
from nvrar_bench.timing.loop import MONOTONIC
from nvrar_bench.world import World, library_version

PROBED_BYTES = 64 << 10
_PASSES = 31
# One core of an EPYC, to lines that its neighbour had read: 5 times as long as to its own, and in
# another state of the same virtual machine, in which MPI_Allreduce took 2.7 times as long, 20.
FAR_APART = 10.0


def problems(world: World) -> tuple[str, ...]:
    """All that is wrong on the machines of a run, each once; collective over all ranks."""
    apart = _apart(world)
    mine = list(_of_host(world)) if world.host_comm.rank == 0 else []
    everyone = world.comm.allgather([*mine, *([apart] if apart else [])])
    return tuple(dict.fromkeys(text for texts in everyone for text in texts))


def _of_host(world: World) -> Iterator[str]:
    ranks = int(world.host_comm.size)
    shm = machine.shm_problem() if ranks > 1 and library_version().startswith("Open MPI") else None
    quota = machine.quota_problem(ranks)
    yield from (f"{world.host}: {problem}" for problem in (shm, quota) if problem)


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
