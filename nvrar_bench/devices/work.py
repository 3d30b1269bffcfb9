"""What a rank does between two all-reduces of a decode step, and how much memory it reads.

A step reads each layer's weights and KV cache once, long after the step before has, so they come
from memory. The work memory stands for them: a work reads on where the one before it ended, of
whatever step, and begins again at the end. So it reads what was read the longest time ago.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Generic, Protocol, TypeAlias, TypeVar

from nvrar_bench.devices.operation import WorkPart
from nvrar_bench.errors import UsageError
from nvrar_bench.units import format_size
from nvrar_bench.world import World

GRAIN = 256  # bytes: a read is a multiple of it, and so is the work memory; kernels/work.cuh
# Of memory of so many times its size, a cache that drops the oldest line holds nothing of what is
# read next, one that drops lines at random 2 %: h = exp(-4 (1 - h)).
_TIMES_CACHE = 4
_SHARE = 0.25  # of the memory that is free


@dataclass(frozen=True)
class Stream:
    """Read `nbytes` that no cache holds."""

    nbytes: int


@dataclass(frozen=True)
class Gemm:
    """Multiply matrices, (m, k) by (k, n) for each (m, n, k); no cache holds the second."""

    shapes: tuple[tuple[int, int, int], ...]
    dtype: str = "float32"


@dataclass(frozen=True)
class Spin:
    """Wait for so long."""

    nanoseconds: int


Work: TypeAlias = Stream | Gemm | Spin


def up_to_grain(nbytes: int) -> int:
    """What is read for `nbytes`."""
    return -(-nbytes // GRAIN) * GRAIN


class _Bytes(Protocol):
    @property
    def nbytes(self) -> int: ...


_Array = TypeVar("_Array", bound=_Bytes)


class Works(ABC, Generic[_Array]):
    """Makes the works of one process, which does them for each of its seats in `world`."""

    library: ClassVar[str]  # that multiplies
    multiplies: ClassVar[tuple[str, ...]]  # element types

    def __init__(self, world: World, timeout: float) -> None:
        self.world, self._timeout = world, timeout
        self._step_bytes = 0
        self.facts: dict[str, Any] = {}

    def reserve(self, step_bytes: int) -> None:
        """As Device.reserve."""
        self._step_bytes = step_bytes * len(self.world.seats)

    def prepare(self, work: Work) -> WorkPart:
        """As Device.work."""
        seats = len(self.world.seats)
        if isinstance(work, Stream):
            return self._stream(up_to_grain(work.nbytes * seats))
        if isinstance(work, Gemm):
            self._require_type(work.dtype)
            return self._gemm(replace(work, shapes=work.shapes * seats))
        self._require_short(work)
        return self._spin(work)

    @cached_property
    def _words(self) -> _Array:
        return self._taken()

    @cached_property
    def _matrices(self) -> _Array:
        """Apart: they are read from another place on than what streams."""
        return self._taken()

    @cached_property
    def _turns(self) -> Turns:
        return Turns(self._matrices.nbytes)

    @abstractmethod
    def _taken(self) -> _Array:
        """Bytes to read. Collective."""

    @abstractmethod
    def _stream(self, nbytes: int) -> WorkPart:
        """Read so many bytes of the work memory, a multiple of GRAIN."""

    @abstractmethod
    def _gemm(self, gemm: Gemm) -> WorkPart:
        """Multiply by matrices that lie there."""

    @abstractmethod
    def _spin(self, spin: Spin) -> WorkPart:
        """Wait."""

    def _memory_bytes(self, cache_bytes: int, cache_from: str, available: int) -> int:
        """Choose how much memory is read in turns; `available` is to the ranks of this machine.

        As much as a step reads, where a quarter of it is enough for that; a longer step goes round.
        Never so little that the last-level cache could hold much of it (UsageError). What streams
        and what is multiplied take as much each. Collective.
        """
        # The least of all ranks: a step is as slow as the rank that reads most.
        free = min(self.world.comm.allgather(available // self.world.host_comm.size))
        least = up_to_grain(_TIMES_CACHE * cache_bytes)
        most = int(free * _SHARE) // GRAIN * GRAIN
        if most < least:
            raise UsageError(
                f"work between all-reduces reads {format_size(least)} of memory on each rank, "
                f"{_TIMES_CACHE} times the last-level cache, and {format_size(most)} may be used; "
                "allowed: fewer ranks, or --compute none"
            )
        chosen = min(max(up_to_grain(self._step_bytes), least), most)
        self.facts |= {
            "work_memory_bytes": chosen + self.facts.get("work_memory_bytes", 0),
            "work_memory_holds_a_step": chosen >= self._step_bytes,
            "last_level_cache_bytes": cache_bytes,
            "last_level_cache_from": cache_from,
        }
        return chosen

    def _require_type(self, dtype: str) -> None:
        if dtype not in self.multiplies:
            raise UsageError(
                f"matrices of {dtype}: allowed with {self.library}: {', '.join(self.multiplies)}; "
                "or --compute stream"
            )

    def _require_short(self, spin: Spin) -> None:
        """Nobody may wait longer than others wait for this rank."""
        if not 0 <= spin.nanoseconds <= self._timeout * 1e9:
            raise UsageError(
                f"a wait of {spin.nanoseconds / 1e9:g} s before a call; allowed: 0 to "
                f"{self._timeout:g} s, after which the other ranks give up (--timeout)"
            )


class Turns:
    """Which part of the work memory the next matrix is."""

    def __init__(self, nbytes: int) -> None:
        self._nbytes, self._next = nbytes, 0

    def take(self, nbytes: int) -> int:
        """Return where it begins; one that does not fit before the end begins anew.

        UsageError: it is larger than all of the memory.
        """
        if nbytes > self._nbytes:
            raise UsageError(
                f"a matrix of {format_size(nbytes)}: works read {format_size(self._nbytes)} of "
                "memory in turns; allowed: smaller ones, or --compute stream"
            )
        first = self._next if self._next + nbytes <= self._nbytes else 0
        self._next = first + up_to_grain(nbytes)
        return first
