"""The seam below NVRAR: how its kernel runs on one device with one fabric."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nvrar_bench.backends.nvrar.limits import Limits
from nvrar_bench.devices.base import Device, Memory, MemoryBlock
from nvrar_bench.devices.operation import NativeCall, Shape
from nvrar_bench.toolchain.kernel import Kernel
from nvrar_bench.toolchain.structs import CArguments
from nvrar_bench.world import World

Launch = Callable[[], Any]
_BYTE = np.dtype(np.uint8)


@dataclass(frozen=True, eq=False)
class StagingMemory:
    """Symmetric memory: where each rank's is mapped here, 0 where it is not."""

    block: MemoryBlock
    peers: tuple[int, ...]


class SharedWords:
    """64-bit words, 0 at first, that host and kernel share, though not at the same time."""

    def __init__(self, memory: Memory[Any], count: int) -> None:
        self._memory = memory
        self._array = memory.keep(np.zeros(count, np.uint64))
        (self.address,) = memory.addresses(self._array)  # as the kernel sees it

    def write(self, values: Sequence[int]) -> None:
        """Set all of them, for every call that is launched later."""
        self._memory.write(self._array, np.array(values, np.uint64))

    def read(self, behind: str = "what reads or writes its words") -> list[int]:
        """Return all of them, as the calls that were launched left them, which are `behind`.

        TimedOut: these did not end.
        """
        found: list[int] = self._memory.to_host(self._array, behind).tolist()
        return found


class Engine(ABC):
    """Builds, binds and launches the kernel for the seats of this process in `world`."""

    fabric: ClassVar[str]
    stream_ordered: ClassVar[bool] = False
    all_mapped: ClassVar[bool] = True  # every rank's memory is mapped by every other
    packets_up_to: int = 0  # `auto`: bytes of a slice; above it, `signal`
    warnings: ClassVar[tuple[str, ...]] = ()  # what makes its figures hard to compare
    limits: Limits
    spin: int  # polls before a waiter looks at the clock and gives up its core

    def __init__(self, world: World, device: Device) -> None:
        self.world, self.device = world, device
        self._loaded: dict[Kernel, Any] = {}

    def facts(self) -> dict[str, str]:
        """What a reader of its figures needs to know, for the record."""
        return {}

    def foresee(self, kernels: Sequence[Kernel]) -> None:
        """Build and load kernels that are to come, all at once. Collective over the machine.

        Unavailable: one cannot be built.
        """
        # All at once: compilers then run side by side.
        self._loaded.update(zip(kernels, self._load(kernels), strict=True))

    def _kernel(self, kernel: Kernel) -> Any:
        """Return the loaded kernel, which is built if it was not foreseen."""
        if kernel not in self._loaded:
            self.foresee([kernel])
        return self._loaded[kernel]

    @abstractmethod
    def _load(self, kernels: Sequence[Kernel]) -> Sequence[Any]:
        """Load all; what is not built yet is built, on one rank of each machine."""

    def allocate(self, nbytes: int) -> StagingMemory:
        """Allocate zeroed symmetric memory. Collective."""
        memory = self.device.memory
        block = memory.allocate(nbytes, "symmetric")
        return StagingMemory(block, memory.peers(block.view(0, nbytes, _BYTE)) or ())

    def close(self) -> None:  # noqa: B027 - most hold nothing but memory
        """Give back what the constructor took. Collective."""

    @abstractmethod
    def bind(self, kernel: Kernel, seats: Sequence[CArguments], shape: Shape) -> Launch:
        """Return a function that launches `kernel` once, with one set of arguments per seat.

        UsageError: the device cannot hold such a launch.
        """

    def native(self, kernel: Kernel, seats: Sequence[CArguments]) -> NativeCall | None:  # noqa: ARG002
        """Return a C function that does what a launch does, where there is one."""
        return None
