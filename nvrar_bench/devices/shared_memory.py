"""Memory of every rank of one machine, mapped by all of them.

Each rank owns an anonymous memory file (memfd_create); peers open it through /proc while its owner
waits. It has no name, so nothing can be left behind in /dev/shm however a rank dies, and the
size of /dev/shm, small in containers, does not bound it.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nvrar_bench.errors import Unavailable
from nvrar_bench.files import memory_file

if TYPE_CHECKING:
    from mpi4py import MPI


@dataclass(frozen=True, eq=False)
class SharedMemory:
    """`nbytes` bytes of every rank of a communicator; `addresses[r]` is where rank r's lie here."""

    nbytes: int
    addresses: tuple[int, ...]
    rank: int
    _maps: tuple[mmap.mmap, ...] = field(repr=False)

    @property
    def address(self) -> int:
        """Where this rank's own bytes start."""
        return self.addresses[self.rank]

    def bytes(self) -> npt.NDArray[np.uint8]:
        """This rank's own bytes, shape (nbytes,). The array keeps the memory alive."""
        return self.bytes_of(self.rank)

    def bytes_of(self, rank: int) -> npt.NDArray[np.uint8]:
        """Rank `rank`'s bytes, shape (nbytes,)."""
        return np.frombuffer(self._maps[rank], dtype=np.uint8)


def allocate(comm: MPI.Comm, nbytes: int) -> SharedMemory:
    """Allocate `nbytes` zeroed bytes on every rank of `comm` (one machine); collective.

    Raises:
        Unavailable: a peer's memory could not be mapped; raised on every rank. Or a limit on the
            size of files, which holds for all of them, is too low.
    """
    descriptor = memory_file("nvrar-bench", nbytes)
    try:
        owners = comm.allgather((os.getpid(), descriptor))
        maps, problem = _map_all(owners, nbytes)
        problems = [p for p in comm.allgather(problem) if p]  # nobody closes before all have opened
    finally:
        os.close(descriptor)
    if problems:
        raise Unavailable(problems[0])
    addresses = tuple(ctypes.addressof(ctypes.c_char.from_buffer(m)) for m in maps)
    return SharedMemory(nbytes, addresses, int(comm.rank), maps)


def _map_all(
    owners: list[tuple[int, int]], nbytes: int
) -> tuple[tuple[mmap.mmap, ...], str | None]:
    try:
        return tuple(_map_one(pid, descriptor, nbytes) for pid, descriptor in owners), None
    except OSError as error:
        return (), (
            f"the memory of a peer on this machine cannot be mapped ({error}); "
            "the ranks of one machine must share a user and a PID namespace"
        )


def _map_one(pid: int, descriptor: int, nbytes: int) -> mmap.mmap:
    opened = os.open(f"/proc/{pid}/fd/{descriptor}", os.O_RDWR | os.O_CLOEXEC)
    try:
        return mmap.mmap(opened, nbytes)
    finally:
        os.close(opened)
