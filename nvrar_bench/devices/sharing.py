"""Memory of CPU ranks, which those of one machine map, and kernels, which one of them builds.

The memory is one anonymous file (memfd_create) of the first rank; the others open it through /proc
while that waits. It has no name, so nothing can be left behind in /dev/shm however a rank dies, and
the size of /dev/shm, small in containers, does not bound it.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nvrar_bench.devices.base import Memory, MemoryBlock
from nvrar_bench.devices.machine import available_memory
from nvrar_bench.errors import CompilerError, TimedOut, Unavailable
from nvrar_bench.files import memory_file
from nvrar_bench.toolchain import host
from nvrar_bench.verify.recipe import HostArray
from nvrar_bench.world import World

if TYPE_CHECKING:
    from mpi4py import MPI


@dataclass(frozen=True, eq=False)
class SharedMemory:
    """`nbytes` bytes of every rank of a communicator; `addresses[r]` is where rank r's lie here."""

    nbytes: int
    addresses: tuple[int, ...]
    rank: int
    _map: mmap.mmap = field(repr=False)

    def bytes(self) -> npt.NDArray[np.uint8]:
        """This rank's own bytes, shape (nbytes,). The array keeps the memory alive."""
        return self.bytes_of(self.rank)

    def bytes_of(self, rank: int) -> npt.NDArray[np.uint8]:
        """Rank `rank`'s bytes, shape (nbytes,)."""
        first = self.addresses[rank] - self.addresses[0]
        return np.frombuffer(self._map, np.uint8, self.nbytes, first)


def allocate(comm: MPI.Comm, nbytes: int) -> SharedMemory:
    """Allocate `nbytes` zeroed bytes on every rank of `comm` (one machine); collective.

    Each rank's begin on a page. All ranks raise Unavailable where the first one's memory cannot be
    mapped, or a limit on the size of files is too low.
    """
    pitch = _whole_pages(nbytes)
    size = pitch * comm.size
    offered: tuple[int, int] | str = comm.bcast(_offer(size) if comm.rank == 0 else "")
    if isinstance(offered, str):
        raise Unavailable(offered)
    mapped, problem = _map(*offered, size)
    problems = [each for each in comm.allgather(problem) if each]  # by then all have opened it
    if comm.rank == 0:
        os.close(offered[1])
    if mapped is None or problems:
        raise Unavailable(problems[0])
    first = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
    addresses = tuple(first + rank * pitch for rank in range(comm.size))
    return SharedMemory(nbytes, addresses, int(comm.rank), mapped)


def _whole_pages(nbytes: int) -> int:
    return -(-nbytes // mmap.PAGESIZE) * mmap.PAGESIZE


def _offer(size: int) -> tuple[int, int] | str:
    """This process and its descriptor of a new file; or why there is none."""
    try:
        return os.getpid(), memory_file("nvrar-bench", size)
    except Unavailable as error:
        return str(error)


def _map(pid: int, descriptor: int, size: int) -> tuple[mmap.mmap | None, str | None]:
    try:
        return _map_one(pid, descriptor, size), None
    except OSError as error:
        return None, (
            f"the memory of a peer on this machine cannot be mapped ({error}); "
            "the ranks of one machine must share a user and a PID namespace"
        )


def _map_one(pid: int, descriptor: int, size: int) -> mmap.mmap:
    opened = os.open(f"/proc/{pid}/fd/{descriptor}", os.O_RDWR | os.O_CLOEXEC)
    try:
        return mmap.mmap(opened, size)
    finally:
        os.close(opened)


@dataclass(frozen=True, eq=False)
class HostBlock(MemoryBlock):
    """Some bytes of memory, page-aligned, shape (n,) or (seats, n)."""

    bytes: npt.NDArray[np.uint8]
    # Where each rank's are mapped here, 0 for ranks of other machines; empty for private memory.
    peers: tuple[int, ...]
    shared: SharedMemory | None = None  # keeps the peers' memory mapped

    @property
    def address(self) -> int:
        return int(self.bytes.ctypes.data)

    @property
    def nbytes(self) -> int:
        return int(self.bytes.shape[-1])

    @property
    def symmetric(self) -> bool:
        return bool(self.peers)

    def view(self, first: int, nbytes: int, dtype: np.dtype[Any]) -> HostArray:
        return self.bytes[..., first : first + nbytes].view(dtype)


class HostMemory(Memory[HostBlock]):
    """Host memory of this process; allocating is collective over the machine."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def allocate(self, nbytes: int, kind: str) -> HostBlock:
        """Allocate zeroed pages; those of `symmetric` memory are mapped by all ranks."""
        rounded = _whole_pages(nbytes)
        seats = len(self._world.seats)
        if seats > 1:
            rows = _pages(seats * rounded).reshape(seats, rounded)
            is_symmetric = kind == "symmetric"
            block = HostBlock(rows, self.addresses(rows) if is_symmetric else ())
        elif kind == "symmetric":
            shared = allocate(self._world.host_comm, rounded)
            here, machines = iter(shared.addresses), self._world.machine_of
            mine = machines[self._world.rank]
            peers = tuple(next(here) if machine == mine else 0 for machine in machines)
            block = HostBlock(shared.bytes(), peers, shared)
        else:
            block = HostBlock(_pages(rounded), ())
        self._blocks.append(block)
        return block

    def release(self, block: HostBlock) -> None:
        """Forget a block; its memory goes with the last array on it."""
        self._blocks.remove(block)

    def clear(self, block: HostBlock) -> None:
        block.bytes.fill(0)

    def addresses(self, array: HostArray) -> tuple[int, ...]:
        return tuple(row.ctypes.data for row in rows_of(array))

    def _starts(self, block: HostBlock) -> tuple[int, ...]:
        return block.peers

    def _elsewhere(self, address: int, count: int, dtype: np.dtype[Any]) -> HostArray:
        there = memoryview((ctypes.c_uint8 * (count * dtype.itemsize)).from_address(address))
        return np.frombuffer(there, np.uint8).view(dtype)

    def keep(self, values: npt.NDArray[Any]) -> HostArray:
        return values

    def write(self, array: HostArray, values: npt.NDArray[Any]) -> None:
        np.copyto(array, values)

    def to_host(self, array: HostArray, what: str = "") -> npt.NDArray[Any]:  # noqa: ARG002 - no queue
        return np.array(array)

    def copy(self, target: HostArray, source: HostArray) -> None:
        np.copyto(target, source)

    def available(self) -> int:
        return available_memory()


def _pages(nbytes: int) -> npt.NDArray[np.uint8]:
    # A page more than asked: NumPy aligns to a few bytes, and symmetric memory begins with a page.
    whole = np.zeros(nbytes + mmap.PAGESIZE, np.uint8)
    first = -whole.ctypes.data % mmap.PAGESIZE
    return whole[first : first + nbytes]


def rows_of(array: HostArray) -> Sequence[HostArray]:
    """Return the array of each seat."""
    return [array] if array.ndim == 1 else list(array)


def load_all(
    world: World, sources: Sequence[host.Source], timeout: float = math.inf
) -> list[ctypes.CDLL]:
    """Build what the cache of each machine lacks, and load it. Collective.

    A machine without a compiler, or whose cache cannot be written, is given what the first machine
    with the same processor has built: the compiler's code is for the processor that it ran on.
    Where there is none like it, all ranks raise what it lacks (CompilerError, Unavailable).
    `timeout` bounds how long one machine waits for the others (TimedOut).
    """
    try:
        paths = world.on_host_leader(lambda: host.build_all(sources))
    except (CompilerError, Unavailable) as error:
        if world.machines == 1:
            raise
        _await_others(world, timeout)
        return _given(world, error, [])
    if world.machines > 1:
        _await_others(world, timeout)
        _given(world, None, paths)
    return [host.load(path) for path in paths]


def _await_others(world: World, timeout: float) -> None:
    if not world.is_complete_within(timeout):
        raise TimedOut(
            f"rank {world.rank} on host {world.host} waited {timeout:g} s for the kernels of "
            "other machines: one has no rank that goes on, or compiles for longer (--timeout)"
        )


def _given(world: World, problem: Unavailable | None, paths: Sequence[Path]) -> list[ctypes.CDLL]:
    """Give the libraries at `paths` to the ranks that have a `problem`; load them there."""
    everyone = world.comm.allgather((host.processor(), problem))
    givers = _givers(everyone, world.hosts)
    loaded = []
    for giver in dict.fromkeys(givers.values()):
        ours = [path.read_bytes() for path in paths] if giver == world.rank else None
        libraries = world.comm.bcast(ours, root=giver)
        if givers.get(world.rank) == giver:
            loaded = [host.load_bytes(library) for library in libraries]
    return loaded


def _givers(
    everyone: Sequence[tuple[str, Unavailable | None]], hosts: Sequence[str]
) -> dict[int, int]:
    """Return who gives each rank that has a problem what it lacks."""
    found: dict[str, int] = {}
    for rank, (processor, problem) in enumerate(everyone):
        if problem is None:
            found.setdefault(processor, rank)
    lacking = [rank for rank, (_, problem) in enumerate(everyone) if problem]
    for rank in lacking:
        processor, problem = everyone[rank]
        if problem and processor not in found:
            where = f"rank {rank} on {hosts[rank]}: " if found else ""
            raise type(problem)(f"{where}{problem}")
    return {rank: found[everyone[rank][0]] for rank in lacking}
