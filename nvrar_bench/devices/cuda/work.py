"""Work between all-reduces on a GPU: the kernels of kernels/work.cuh, and cuBLAS."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial

import numpy as np

from nvrar_bench.datatypes import DTYPES
from nvrar_bench.devices.cuda.array import DeviceArray
from nvrar_bench.devices.cuda.cublas import TYPES, WORKSPACE_BYTES, Cublas
from nvrar_bench.devices.cuda.elements import grid_for
from nvrar_bench.devices.cuda.memory import GpuMemory
from nvrar_bench.devices.sequence import WorkPart
from nvrar_bench.devices.work import Gemm, Spin, Turns, Works
from nvrar_bench.toolchain.structs import CWorkMemory
from nvrar_bench.world import World

OpenCublas = Callable[[int, int], Cublas]  # from stream and workspace

_THREADS = 256
_LOAD_BYTES = 16


class GpuWorks(Works[DeviceArray]):
    """The works of one GPU's rank, or of all virtual ones."""

    library = "cuBLAS"
    multiplies = tuple(TYPES)

    def __init__(
        self, world: World, memory: GpuMemory, cubin: bytes, open_cublas: OpenCublas
    ) -> None:
        """`cubin` holds the kernels."""
        super().__init__(world, memory.context.timeout)
        self._memory, self._context = memory, memory.context
        self._cubin, self._open_cublas = cubin, open_cublas

    def _stream(self, nbytes: int) -> WorkPart:
        blocks = grid_for(nbytes // _LOAD_BYTES, self._context.gpu.sms)
        return self._kernel(
            "nvrar_read_memory", blocks, _THREADS, self._work_memory.address, nbytes, blocks
        )

    def _spin(self, spin: Spin) -> WorkPart:
        return self._kernel("nvrar_spin", 1, 1, spin.nanoseconds)

    def _gemm(self, gemm: Gemm) -> WorkPart:
        return _GpuProducts(gemm, self._memory, self._matrices, self._turns, self._cublas)

    def _kernel(self, entry: str, blocks: int, threads: int, *arguments: int) -> WorkPart:
        kernel = self._context.load(self._cubin, entry)
        return _QueuedWork(partial(self._context.launch, kernel, blocks, threads, *arguments))

    def _taken(self) -> DeviceArray:
        cache = self._context.gpu.l2_bytes
        nbytes = self._memory_bytes(cache, "driver", self._memory.available())
        words = self._memory.empty(nbytes, np.uint8)
        blocks = grid_for(nbytes // 8, self._context.gpu.sms)
        self._kernel(
            "nvrar_fill_memory", blocks, _THREADS, words.address, nbytes // 8, blocks
        ).launch()
        return words

    @cached_property
    def _work_memory(self) -> DeviceArray:
        """A CWorkMemory in GPU memory: the launches of a graph count on by themselves."""
        memory = CWorkMemory(self._words.address, self._words.nbytes)
        return self._memory.keep(np.frombuffer(bytes(memory), np.uint8))

    @cached_property
    def _workspace(self) -> DeviceArray:
        return self._memory.empty(WORKSPACE_BYTES, np.uint8)

    @cached_property
    def _cublas(self) -> Cublas:
        return self._open_cublas(self._context.stream_handle, self._workspace.address)

    def close(self) -> None:
        """Give memory and handle back."""
        if "_cublas" in self.__dict__:
            self._cublas.close()
        for name in ("_words", "_matrices", "_work_memory", "_workspace"):
            self.__dict__.pop(name, None)


class _QueuedWork(WorkPart):
    stream_ordered = True

    def __init__(self, launch: Callable[[], None]) -> None:
        self._launch = launch

    def launch(self) -> None:
        self._launch()


class _GpuProducts(WorkPart):
    """Launches take other matrices than those before; replays of a graph the same ones."""

    stream_ordered = True

    def __init__(
        self, gemm: Gemm, memory: GpuMemory, words: DeviceArray, turns: Turns, cublas: Cublas
    ) -> None:
        self._gemm, self._words, self._turns, self._cublas = gemm, words, turns, cublas
        kind = DTYPES[gemm.dtype].numpy
        self._weights = [n * k * kind.itemsize for _, n, k in gemm.shapes]
        for nbytes in self._weights:
            turns.take(nbytes)  # refuses what is too large
        # All products of a work share them: none depends on another.
        largest = max((m * k for m, _, k in gemm.shapes), default=0)
        self._left = memory.keep(np.full(largest, 0.5, kind))
        self._out = memory.empty(max((m * n for m, n, _ in gemm.shapes), default=0), kind)

    def launch(self) -> None:
        for shape, nbytes in zip(self._gemm.shapes, self._weights, strict=True):
            weights = self._words.address + self._turns.take(nbytes)
            self._cublas.multiply(
                self._gemm.dtype, shape, self._left.address, weights, self._out.address
            )
