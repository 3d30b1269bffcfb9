"""The seam below NVRAR: how its kernel runs on one device with one fabric."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

from nvrar_bench.backends.nvrar.chooser import Launch
from nvrar_bench.backends.nvrar.limits import Limits
from nvrar_bench.devices.base import Block, Device
from nvrar_bench.devices.cpu import CpuDevice
from nvrar_bench.devices.operation import NativeCall
from nvrar_bench.toolchain.kernel import Kernel
from nvrar_bench.toolchain.structs import CArguments
from nvrar_bench.world import World


@dataclass(frozen=True, eq=False)
class Memory:
    """Symmetric memory: where each rank's is mapped here, 0 where it is not."""

    block: Block
    peers: tuple[int, ...]


class Words(ABC):
    """64-bit words that host and kernel share, though not at the same time."""

    address: int  # as the kernel sees it

    @abstractmethod
    def write(self, values: Sequence[int]) -> None:
        """Set all of them, for every call that is launched later."""

    @abstractmethod
    def read(self, behind: str = "") -> list[int]:
        """Return all of them, as the calls that were launched left them, which are `behind`.

        Raises:
            TimedOut: these did not end.
        """


class Engine(ABC):
    """Builds, binds and launches the kernel for the seats of this process."""

    fabric: ClassVar[str]
    stream_ordered: ClassVar[bool] = False
    all_mapped: ClassVar[bool] = True  # every rank's memory is mapped by every other
    packets_up_to: int = 0  # `auto`: bytes of a slice; above it, `signal`
    warnings: ClassVar[tuple[str, ...]] = ()  # what makes its figures hard to compare
    limits: Limits
    spin: int  # polls before a waiter looks at the clock and gives up its core

    def __init__(self, device: Device) -> None:
        self.device = device

    def facts(self) -> dict[str, str]:
        """What a reader of its figures needs to know, for the record."""
        return {}

    @abstractmethod
    def foresee(self, kernels: Sequence[Kernel]) -> None:
        """Build and load kernels that are to come, all at once. Collective over the machine.

        Raises:
            Unavailable: one cannot be built.
        """

    @abstractmethod
    def allocate(self, nbytes: int) -> Memory:
        """Allocate zeroed symmetric memory. Collective."""

    @abstractmethod
    def clear(self, memory: Memory) -> None:
        """Fill this process's part with zeros; done on return."""

    def release(self, memory: Memory) -> None:
        """Give it back."""
        self.device.release(memory.block)

    def close(self) -> None:  # noqa: B027 - most hold nothing but memory
        """Give back what the constructor took. Collective."""

    @abstractmethod
    def words(self, count: int) -> Words:
        """Make `count` words, all 0."""

    @abstractmethod
    def bind(
        self, kernel: Kernel, seats: Sequence[CArguments], launch: Launch
    ) -> Callable[[], Any]:
        """Return a function that launches `kernel` once, with one set of arguments per seat.

        Raises:
            UsageError: the device cannot hold such a launch.
        """

    def native(
        self,
        kernel: Kernel,  # noqa: ARG002 - for those that have one
        seats: Sequence[CArguments],  # noqa: ARG002
    ) -> NativeCall | None:
        """Return a C function that does what a launch does, where there is one."""
        return None


if TYPE_CHECKING:
    from nvrar_bench.devices.cuda.device import CudaDevice


def engine_for(world: World, device: Device, mapped_nodes: bool = False) -> Engine:
    """Open the engine for the ranks of `world` on `device`; see Tuning for `mapped_nodes`.

    Raises:
        Unavailable: what it needs is missing.
    """
    if isinstance(device, CpuDevice):
        from nvrar_bench.backends.nvrar.cpu import EmulatedEngine, HostEngine

        if world.machines > 1:
            from nvrar_bench.backends.nvrar.cpu import HostsEngine

            return HostsEngine(device)
        return EmulatedEngine(device) if world.virtual_ranks else HostEngine(device)
    from nvrar_bench.backends.nvrar.cuda import LoopbackEngine, NvshmemEngine

    gpu = cast("CudaDevice", device)
    return LoopbackEngine(gpu) if world.virtual_ranks else NvshmemEngine(gpu, mapped_nodes)
