"""The CPU device: host memory, the monotonic clock, and a start gate in shared memory."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nvrar_bench.devices.abi import CFailure, CGate, pointer_table
from nvrar_bench.devices.shared_memory import SharedMemory, allocate
from nvrar_bench.errors import TimedOut
from nvrar_bench.toolchain import host
from nvrar_bench.toolchain.kernel import StartGate
from nvrar_bench.world import World

PAGE_BYTES = 4096
_LATER_S = 0.5
# Polls before a waiter gives up its core. With more ranks than cores the rank waited for may need
# this very core, so every poll is wasted; one look is kept because the answer is often there.
SPIN = 4000
SPIN_OVERSUBSCRIBED = 0


@dataclass(frozen=True, eq=False)
class Block:
    """Some bytes of memory, page-aligned; `shared` is set if peers of the machine map them too."""

    bytes: npt.NDArray[np.uint8]
    shared: SharedMemory | None


class CpuDevice:
    """Host memory of this rank; every method that allocates is collective over the machine."""

    name = "cpu"

    def __init__(self, world: World, timeout: float) -> None:
        self.world = world
        self.timeout = timeout
        self.spin = SPIN_OVERSUBSCRIBED if world.oversubscribed else SPIN
        self._blocks: list[Block] = []

    def allocate(self, nbytes: int, kind: str) -> Block:
        """Allocate at least `nbytes` zeroed bytes, `symmetric` (mapped by peers) or `private`."""
        rounded = -(-nbytes // PAGE_BYTES) * PAGE_BYTES
        if kind == "symmetric":
            shared = allocate(self.world.host_comm, rounded)
            block = Block(shared.bytes(), shared)
        else:
            whole = np.zeros(rounded + PAGE_BYTES, np.uint8)
            first = -whole.ctypes.data % PAGE_BYTES
            block = Block(whole[first : first + rounded], None)
        self._blocks.append(block)
        return block

    def release(self, block: Block) -> None:
        """Forget a block; its memory goes with the last array on it."""
        self._blocks.remove(block)

    def symmetric_home(self, array: npt.NDArray[Any]) -> tuple[SharedMemory, int] | None:
        """Return the shared memory that holds `array` and the offset in it; None if none does."""
        address = array.ctypes.data
        for block in self._blocks:
            if block.shared and block.shared.contains(address, array.nbytes):
                return block.shared, address - block.shared.address
        return None

    def start_gate(self) -> Callable[[], None]:
        """Return a function that leaves on all ranks of the run at once; collective.

        On one machine it is a gate in shared memory; across machines an MPI barrier.
        """
        if self.world.machines > 1:
            return self.world.comm.Barrier
        return _SharedGate(self).wait


class _SharedGate:
    def __init__(self, device: CpuDevice) -> None:
        world = device.world
        library = host.load(world.on_host_leader(lambda: host.build(StartGate())))
        self._memory = allocate(world.host_comm, PAGE_BYTES)
        self._table = pointer_table(self._memory.addresses)
        self._failure = CFailure()
        self._gate = CGate(
            flags=ctypes.addressof(self._table),
            ranks=world.size,
            rank=world.rank,
            round=0,
            spin=device.spin,
            # Rank 0 knows who is late; the others only know that rank 0 has not opened.
            timeout_ns=int((device.timeout + (_LATER_S if world.rank else 0)) * 1e9),
            failure=ctypes.pointer(self._failure),
        )
        self._pass = library.nvrar_pass_gate
        self._pointer = ctypes.byref(self._gate)

    def wait(self) -> None:
        self._gate.round += 1
        self._pass(self._pointer)
        if self._failure.code:
            raise TimedOut(f"the start gate waited in vain for rank {self._failure.peer}")


def cpu_model() -> str:
    """The CPU's name, for the record."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def available_memory() -> int:
    """Bytes this machine can still give: MemAvailable, or what is left of the cgroup's limit."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    group = Path("/sys/fs/cgroup")
    try:
        limit = (group / "memory.max").read_text().strip()
        used = int((group / "memory.current").read_text())
    except (OSError, ValueError):
        return free
    return free if limit == "max" else min(free, int(limit) - used)
