"""The CPU device: host memory and the monotonic clock."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nvrar_bench import verify
from nvrar_bench.devices import surroundings
from nvrar_bench.devices.base import Device, Memory, Verifier
from nvrar_bench.devices.gate import SharedGate, load_library, open_gate
from nvrar_bench.devices.machine import available_memory, cpu_model
from nvrar_bench.devices.native import CacheFlush, CpuTimer, HostWorks
from nvrar_bench.devices.operation import NativeSequence, Operation
from nvrar_bench.devices.sharing import SharedMemory, allocate
from nvrar_bench.devices.surroundings import CpuYardstick
from nvrar_bench.timing.clocks import Clocks
from nvrar_bench.timing.loop import Gate, Yardstick
from nvrar_bench.verify import Expected, Findings, KnownReduction
from nvrar_bench.verify.recipe import HostArray
from nvrar_bench.world import World

PAGE_BYTES = 4096
_WORD = np.dtype(np.uint64)
# Polls before a waiter gives up its core. With more ranks than cores the rank waited for may need
# this very core, so every poll is wasted; one look is kept because the answer is often there.
SPIN = 4000
SPIN_OVERSUBSCRIBED = 0


def polls_before_yield(world: World) -> int:
    """How long a waiter spins on this machine."""
    return SPIN_OVERSUBSCRIBED if world.oversubscribed else SPIN


@dataclass(frozen=True, eq=False)
class HostBlock:
    """Some bytes of memory, page-aligned, shape (n,) or (seats, n)."""

    bytes: npt.NDArray[np.uint8]
    # Where each rank's are mapped here, 0 for ranks of other machines; empty for private memory.
    peers: tuple[int, ...]
    shared: SharedMemory | None = None  # keeps the peers' memory mapped

    def view(self, first: int, nbytes: int, dtype: np.dtype[Any]) -> HostArray:
        """Slice the bytes."""
        return self.bytes[..., first : first + nbytes].view(dtype)


class HostMemory(Memory[HostBlock]):
    """Host memory of this process; allocating is collective over the machine."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._blocks: list[HostBlock] = []

    def allocate(self, nbytes: int, kind: str) -> HostBlock:
        """Allocate zeroed pages; those of `symmetric` memory are mapped by all ranks."""
        rounded = -(-nbytes // PAGE_BYTES) * PAGE_BYTES
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
        return tuple(row.ctypes.data for row in _rows(array))

    def peers(self, array: HostArray) -> tuple[int, ...] | None:
        first = _rows(array)[0]
        found = self._symmetric(first.ctypes.data, first.nbytes)
        return None if found is None else tuple(peer + found[1] for peer in found[0].peers)

    def at(self, address: int, count: int, dtype: np.dtype[Any]) -> HostArray:
        nbytes = count * dtype.itemsize
        found = self._symmetric(address, nbytes)
        if found is not None:
            return found[0].view(found[1], nbytes, dtype)
        elsewhere = memoryview((ctypes.c_uint8 * nbytes).from_address(address))
        return np.frombuffer(elsewhere, np.uint8).view(dtype)

    def _symmetric(self, address: int, nbytes: int) -> tuple[HostBlock, int] | None:
        """Find the symmetric block that holds these bytes, and where in it they begin."""
        for block in self._blocks:
            offset = address - _rows(block.bytes)[0].ctypes.data
            if block.peers and 0 <= offset <= block.bytes.shape[-1] - nbytes:
                return block, offset
        return None

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
            for row in _rows(view):
                verify.write_canary(row)

    def read(self, output: HostArray) -> bool:
        """Take its bytes into this core's cache: peers have written them from theirs."""
        for row in _rows(output):
            words = row.view(np.uint8)[: row.nbytes // _WORD.itemsize * _WORD.itemsize]
            np.bitwise_or.reduce(words.view(_WORD), initial=0)
        return True

    def check(
        self, received: HostArray, expected: Expected, around: Sequence[HostArray] = ()
    ) -> Findings:
        results = [
            verify.check(row, expected, len(row), rank)
            for rank, row in zip(self._world.seats, _rows(received), strict=True)
        ]
        rows = (row for view in around for row in _rows(view))
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
            self._problems = surroundings.problems(self.world)

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


def _pages(nbytes: int) -> npt.NDArray[np.uint8]:
    # A page more than asked: NumPy aligns to a few bytes, and symmetric memory begins with a page.
    whole = np.zeros(nbytes + PAGE_BYTES, np.uint8)
    first = -whole.ctypes.data % PAGE_BYTES
    return whole[first : first + nbytes]


def _rows(array: HostArray) -> Sequence[HostArray]:
    """Return the array of each seat."""
    return [array] if array.ndim == 1 else list(array)
