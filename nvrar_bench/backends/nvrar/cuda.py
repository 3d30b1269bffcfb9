"""NVRAR's kernel on GPUs: one rank on each, or all ranks in one launch on one of them."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from nvrar_bench.backends.nvrar.arguments import MAX_VIRTUAL_RANKS, CArguments, CVirtualRanks
from nvrar_bench.backends.nvrar.engine import Engine, Memory, Words
from nvrar_bench.backends.nvrar.tuning import Launch, Limits
from nvrar_bench.devices.cuda.context import LoadedKernel
from nvrar_bench.devices.cuda.device import CudaDevice
from nvrar_bench.errors import UsageError
from nvrar_bench.toolchain.kernel import Kernel

ENTRY = "nvrar_all_reduce"

# Windows so large that a sweep's messages are one each; staging memory grows with them.
_WINDOW_BYTES = {"signal": 4 << 20, "packet": 2 << 20}
_MAX_THREADS = 256  # __launch_bounds__ of kernels/fabric/

# One 16-byte load, or one unit of packets, for each thread of a block, twice.
_SLICE_PER_BLOCK = {"signal": 8 << 10, "packet": 4 << 10}


class _GpuWords(Words):
    def __init__(self, device: CudaDevice, count: int) -> None:
        self._device = device
        self._array = device.keep(np.zeros(count, np.uint64))
        self.address = self._array.address

    def write(self, values: Sequence[int]) -> None:
        values_there = self._device.keep(np.array(values, np.uint64))
        self._device.copy(self._array, values_there)
        self._device.drain("a copy on the GPU")

    def read(self) -> list[int]:
        return [int(word) for word in self._device.to_host(self._array)]


class _CudaEngine(Engine):
    device: CudaDevice
    stream_ordered = True
    packets_up_to = 64 << 10
    spin = 4096

    def __init__(self, device: CudaDevice) -> None:
        super().__init__(device)
        self._kernels: dict[Kernel, LoadedKernel] = {}

    def foresee(self, kernels: Sequence[Kernel]) -> None:
        """Compile them on one rank of each machine, and load them."""
        for kernel, cubin in zip(kernels, self.device.build_all(kernels), strict=True):
            self._kernels[kernel] = self.device.load(cubin, ENTRY)

    def kernel(self, kernel: Kernel) -> LoadedKernel:
        """Return the loaded kernel, which is built if it was not foreseen."""
        if kernel not in self._kernels:
            self.foresee([kernel])
        return self._kernels[kernel]

    def allocate(self, nbytes: int) -> Memory:
        """Allocate in NVSHMEM's heap, or a row for each virtual rank."""
        block = self.device.allocate(nbytes, "symmetric")
        everything = self.device.view(block, 0, nbytes, np.dtype(np.uint8))
        return Memory(block, self.device.peer_addresses(everything) or ())

    def clear(self, memory: Memory) -> None:
        """Fill with zeros."""
        self.device.clear(memory.block)

    def words(self, count: int) -> Words:
        """Make them in plain GPU memory."""
        return _GpuWords(self.device, count)

    def _bound(
        self, kernel: Kernel, arguments: ctypes.Structure, blocks: int, threads: int
    ) -> Callable[[], Any]:
        loaded = self.kernel(kernel)
        self.device.require_resident(loaded, blocks, threads)
        return partial(self.device.launch, loaded, blocks, threads, arguments)


class NvshmemEngine(_CudaEngine):
    """The fabric `nvshmem`: one rank on each GPU, on any number of machines."""

    fabric = "nvshmem"
    all_mapped = False
    limits = Limits(
        max_blocks=32, max_threads=_MAX_THREADS, threads=_MAX_THREADS, min_chunk_bytes=1 << 10,
        max_chunk_bytes=256 << 10, window_bytes=_WINDOW_BYTES, slice_per_block=_SLICE_PER_BLOCK,
    )  # fmt: skip

    def foresee(self, kernels: Sequence[Kernel]) -> None:
        """Compile, load, and make NVSHMEM known to them."""
        super().foresee(kernels)
        for kernel in kernels:
            self.device.register_with_heap(self._kernels[kernel])

    def bind(
        self, kernel: Kernel, seats: Sequence[CArguments], launch: Launch
    ) -> Callable[[], Any]:
        """Bind the one rank's arguments; they go with the launch."""
        return self._bound(kernel, seats[0], launch.blocks, launch.threads)


class LoopbackEngine(_CudaEngine):
    """The fabric `loopback`: all virtual ranks in one launch on one GPU."""

    fabric = "loopback"
    warnings = ("virtual ranks share one GPU: the kernel's cost without any link",)

    def __init__(self, device: CudaDevice) -> None:
        """Share the GPU's multiprocessors among the ranks.

        Raises:
            UsageError: there are more ranks than one launch takes.
        """
        super().__init__(device)
        ranks = len(device.world.seats)
        if ranks > MAX_VIRTUAL_RANKS:
            raise UsageError(f"--virtual-ranks {ranks}: allowed: 1 to {MAX_VIRTUAL_RANKS}")
        blocks = max(1, min(32, device.gpu.sms // ranks))
        self.limits = Limits(
            max_blocks=blocks, max_threads=_MAX_THREADS, threads=_MAX_THREADS,
            min_chunk_bytes=1 << 10, max_chunk_bytes=256 << 10, window_bytes=_WINDOW_BYTES,
            slice_per_block=_SLICE_PER_BLOCK,
        )  # fmt: skip

    def bind(
        self, kernel: Kernel, seats: Sequence[CArguments], launch: Launch
    ) -> Callable[[], Any]:
        """Bind all ranks' arguments; they go with the launch."""
        ranks = CVirtualRanks()
        for index, arguments in enumerate(seats):
            ranks.rank[index] = arguments
        return self._bound(kernel, ranks, len(seats) * launch.blocks, launch.threads)
