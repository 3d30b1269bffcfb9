"""Work between all-reduces on a CPU rank: kernels/work.cuh as C, and NumPy's BLAS."""

from __future__ import annotations

import ctypes
import importlib
import os
from functools import cached_property
from typing import Any

import numpy as np

from nvrar_bench.datatypes import DTYPES
from nvrar_bench.devices.base import Memory
from nvrar_bench.devices.gate import load_library
from nvrar_bench.devices.native import caches_of
from nvrar_bench.devices.operation import NativeCall, WorkPart, address_of
from nvrar_bench.devices.work import Gemm, Spin, Turns, Works
from nvrar_bench.errors import Problem, Unavailable
from nvrar_bench.toolchain.structs import U64, CWorkMemory
from nvrar_bench.verify.recipe import HostArray
from nvrar_bench.world import World

_CANNOT_FAIL = U64(0)


class HostWorks(Works[HostArray]):
    """The works of a CPU rank, or of all virtual ones."""

    library = "NumPy's BLAS"
    multiplies = ("float32", "float64")

    def __init__(self, world: World, timeout: float, memory: Memory[Any]) -> None:
        super().__init__(world, timeout)
        self._memory = memory

    def _stream(self, nbytes: int) -> WorkPart:
        memory = ctypes.addressof(self._work_memory)
        return _NativeWork(self._library.nvrar_read_memory, memory, nbytes, 1)

    def _spin(self, spin: Spin) -> WorkPart:
        return _NativeWork(self._library.nvrar_spin, spin.nanoseconds)

    def _gemm(self, gemm: Gemm) -> WorkPart:
        self.facts |= _bind_blas(self.world)
        return _HostProducts(gemm, self._matrices, self._turns)

    @cached_property
    def _library(self) -> ctypes.CDLL:
        """That of the start gate. Collective."""
        return load_library(self.world)

    def _taken(self) -> HostArray:
        caches = caches_of(os.sched_getaffinity(0))
        available = self._memory.available()
        nbytes = self._memory_bytes(caches.last_bytes, caches.source, available)
        seats = len(self.world.seats)  # memory is allocated for each
        words: HostArray = self._memory.allocate(-(-nbytes // seats), "private").bytes
        words = words.reshape(-1)[:nbytes]
        # Pages that nobody has written are all one page, which a cache holds.
        self._library.nvrar_fill_memory(U64(words.ctypes.data), U64(nbytes // 8), U64(1))
        return words

    @cached_property
    def _work_memory(self) -> CWorkMemory:
        return CWorkMemory(self._words.ctypes.data, self._words.nbytes)


class _NativeWork(WorkPart):
    """A C function that cannot fail."""

    def __init__(self, function: Any, *arguments: int) -> None:
        self._function, self._arguments = function, tuple(map(U64, arguments))
        failure = ctypes.addressof(_CANNOT_FAIL)
        self.native = NativeCall(address_of(function), arguments, failure)

    def launch(self) -> None:
        self._function(*self._arguments)


class _HostProducts(WorkPart):
    """(m, k) by the transpose of (n, k), which is how engines keep weights; from Python."""

    def __init__(self, gemm: Gemm, words: HostArray, turns: Turns) -> None:
        self._words, self._turns = words, turns
        dtype = DTYPES[gemm.dtype].numpy
        self._products = [
            (np.full((m, k), 0.5, dtype), (n, k), np.empty((m, n), dtype))
            for m, n, k in gemm.shapes
        ]
        for _, weights, _ in self._products:
            self._take(weights, dtype)  # refuses what is too large

    def launch(self) -> None:
        for activations, weights, out in self._products:
            np.matmul(activations, self._take(weights, out.dtype).T, out)

    def _take(self, shape: tuple[int, int], dtype: np.dtype[Any]) -> HostArray:
        nbytes = shape[0] * shape[1] * dtype.itemsize
        first = self._turns.take(nbytes)
        return self._words[first : first + nbytes].view(dtype).reshape(shape)


def _bind_blas(world: World) -> dict[str, Any]:
    """Let BLAS use this rank's share of the cores, and none that it is not bound to.

    Unavailable where threadpoolctl is not installed.
    """
    threads = max(1, min(len(os.sched_getaffinity(0)), world.cores // world.host_comm.size))
    try:
        threadpoolctl = importlib.import_module("threadpoolctl")
    except ImportError as error:
        what = "threadpoolctl, which bounds the threads of NumPy's BLAS, is not installed"
        raise Unavailable(Problem(what, "pip install 'nvrar-bench[gemm]'")) from error
    threadpoolctl.threadpool_limits(threads, user_api="blas")
    return {"blas_threads": threads}
