"""The backends by name: why one cannot be used here, or how to open it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nvrar_bench.backends import nccl, unavailable
from nvrar_bench.backends.base import Backend
from nvrar_bench.backends.fake import FakeBackend
from nvrar_bench.backends.nvrar import engine_for
from nvrar_bench.backends.nvrar.backend import NvrarBackend
from nvrar_bench.backends.nvrar.tuning import AUTOMATIC, Tuning
from nvrar_bench.devices.base import Device
from nvrar_bench.devices.cuda import heap
from nvrar_bench.errors import Problem
from nvrar_bench.world import World

_ONE_PROCESS = "virtual ranks live in one process, and {} has one rank in each"


@dataclass(frozen=True)
class Entry:
    """One backend: what it lacks, None where it can run, and how it is made."""

    lacks: Callable[[str], str | None]  # on this machine, on the device of that name
    lacks_in_job: Callable[[World, Device], str | None]  # on its device, that included
    open: Callable[[World, Device, float, Tuning], Backend]
    one_process: str = ""  # its name, where each of its ranks is a process of its own
    by_default: bool = True  # it runs where no backend is asked for by name

    def missing(self, world: World, device: Device) -> str | None:
        """What it lacks in this job, None where it can run."""
        if self.one_process and world.virtual_ranks:
            return _ONE_PROCESS.format(self.one_process)
        return self.lacks_in_job(world, device)


def _fake_lacks(device: str) -> str | None:
    return None if device == "cpu" else Problem("it computes on the CPU", "use --device cpu")


def _nvrar_missing(world: World, device: Device) -> str | None:
    if device.heap_problem:
        return device.heap_problem
    if list(world.node_of) != sorted(world.node_of):
        return (
            "the ranks of a node must follow one another, and this launcher dealt them out in "
            "turn: mpirun --map-by slot, srun --distribution=block"
        )
    return None


def _open_mpi(world: World, device: Device, timeout: float, _: Tuning) -> Backend:
    # Not at the head: to import mpi4py.MPI starts MPI, which `env` asks the registry without.
    from nvrar_bench.backends import mpi

    kind = mpi.MpiCudaBackend if device.name == "cuda" else mpi.MpiBackend
    return kind(world, device, timeout)


def _open_nvrar(world: World, device: Device, timeout: float, tuning: Tuning) -> Backend:
    return NvrarBackend(world, engine_for(world, device, tuning.mapped_nodes), timeout, tuning)


BACKENDS = {
    "nccl": Entry(
        nccl.missing,
        lambda _, device: nccl.missing(device.name, device.ranks_sharing),
        lambda world, device, timeout, _: nccl.NcclBackend(world, device, timeout),
        "NCCL",
    ),
    # MPI itself is there: it is loaded.
    "mpi": Entry(lambda _: None, lambda *_: None, _open_mpi, "MPI"),
    "nvrar": Entry(
        lambda device: heap.missing() if device == "cuda" else None,
        _nvrar_missing,
        _open_nvrar,
    ),
    "fake": Entry(
        _fake_lacks,
        lambda _, device: _fake_lacks(device.name),
        lambda world, device, timeout, _: FakeBackend(world, device, timeout),
        "the fake",
        by_default=False,
    ),
}


def open_backends(
    names: Sequence[str], world: World, device: Device, timeout: float, tuning: Tuning = AUTOMATIC
) -> tuple[list[Backend], list[tuple[str, str]]]:
    """Open the backends asked for; without names, all that are there. Collective.

    Returns them, and (name, reason) of those that are not there; one that was asked for by name
    is raised (Unavailable).
    """
    chosen = names or [name for name, entry in BACKENDS.items() if entry.by_default]
    reasons = {name: BACKENDS[name].missing(world, device) for name in chosen}
    absent = [(name, reason) for name, reason in reasons.items() if reason]
    if names and absent:
        name, reason = absent[0]
        raise unavailable(name, reason)
    opened = [BACKENDS[n].open(world, device, timeout, tuning) for n in chosen if not reasons[n]]
    return opened, absent
