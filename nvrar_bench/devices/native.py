"""What CPU ranks do in C: timed calls, and the work between all-reduces.

A sample is gate, clock, calls, clock, and no Python between them.

Python would be in the sample with more than its instructions: where messages fill the caches, the
interpreter has to be fetched anew for every call.

Caches are cold where a rank walks, before a sample, over its share of twice the last-level cache:
data of before is then out of that cache, which the ranks beside it share, and out of the rank's own
caches, each of which is smaller than the share.
"""

from __future__ import annotations

import ctypes
import importlib
import os
from collections.abc import Callable
from functools import cache, cached_property
from typing import Any

import numpy as np

from nvrar_bench.datatypes import DTYPES
from nvrar_bench.devices.base import Memory, Prepare, Timer
from nvrar_bench.devices.gate import SharedGate, load_library
from nvrar_bench.devices.machine import Caches, caches_of, share_bytes
from nvrar_bench.devices.operation import NativeCall, Operation, WorkPart, address_of
from nvrar_bench.devices.work import Gemm, Spin, Turns, Works
from nvrar_bench.errors import Problem, Unavailable
from nvrar_bench.timing.loop import Gate, Timings, per_call, time_calls
from nvrar_bench.toolchain.structs import U64, CCall, CWorkMemory
from nvrar_bench.verify.recipe import HostArray
from nvrar_bench.world import World


class CacheFlush:
    """Memory that is walked over, `nbytes` long."""

    def __init__(self, caches: Caches, nbytes: int) -> None:
        self._caches, self._memory = caches, np.zeros(-(-nbytes // 8), np.uint64)
        self.walked = 0  # bytes, of all flushes

    @classmethod
    def of_ranks(cls, host_comm: Any) -> CacheFlush:
        """The share of this rank among the ranks of its machine. Collective over them."""
        mine = caches_of(os.sched_getaffinity(0))
        return cls(mine, share_bytes(mine, host_comm.allgather(mine)))

    def __call__(self) -> None:
        """Read and write every word."""
        self._memory += 1
        self.walked += self._memory.nbytes

    def after(self, prepare: Prepare) -> Prepare:
        """`prepare`, and then the flush: what it wrote is cold as well."""

        def prepare_and_flush() -> None:
            prepare()
            self()

        return prepare_and_flush

    def facts(self) -> dict[str, Any]:
        """Bytes that this rank walks over before each sample, and the cache that they are for."""
        return {
            "cold_cache": True,
            "cold_cache_walked_bytes": self._memory.nbytes,
            "last_level_cache_bytes": self._caches.last_bytes,
            "last_level_cache_from": self._caches.source,
        }


class CpuTimer(Timer):
    """Of one rank: native calls where the operation has one, else launches from Python.

    With `flush`, caches are cold at the start of each sample.
    """

    def __init__(self, world: World, flush: CacheFlush | None) -> None:
        self._world, self._flush = world, flush

    @cached_property
    def _library(self) -> ctypes.CDLL:
        """Collective over the machine at the first native call; the start gate has built it."""
        return load_library(self._world)

    @property
    def nothing(self) -> NativeCall | None:
        """A function that does nothing; None where ranks are virtual, which Python times."""
        if self._world.virtual_ranks:
            return None
        return NativeCall(address_of(self._library.nvrar_do_nothing))

    def time_calls(
        self, operation: Operation, prepare: Prepare, gate: Gate, timings: Timings, batch: int = 1
    ) -> None:
        ready = prepare if self._flush is None else self._flush.after(prepare)
        if operation.native and not self._world.virtual_ranks:
            self._time_native(
                CCall(operation.native.in_c(), batch), operation, ready, gate, timings
            )
        else:
            time_calls(operation.launch, ready, gate, operation.clock, timings, batch)

    def _time_native(
        self, call: CCall, operation: Operation, prepare: Prepare, gate: Gate, timings: Timings
    ) -> None:
        """As timing.loop.time_calls, of `call`, a batch of the operation's native calls."""
        durations, starts, agreed = timings.durations, timings.starts, timings.agreed
        batch = int(call.calls)  # of Python, once: no lookup in C's struct stands in the loop
        time_call = self._through(gate, ctypes.byref(call))
        for i in range(len(timings)):
            prepare()
            operation.begin_native(batch)
            time_call()
            durations[i] = per_call(call.ended_ns - call.started_ns, batch)
            starts[i], agreed[i] = call.started_ns, gate.agreed_ns
            operation.end_native(ctypes.c_int(call.result).value)

    def _through(self, gate: Gate, call: object) -> Callable[[], None]:
        time_call = self._library.nvrar_time_call
        if isinstance(gate, SharedGate):
            return lambda: gate.time_call(call)

        def pass_and_time() -> None:
            gate()
            time_call(None, call)

        return pass_and_time


@cache
def mpi_library() -> ctypes.CDLL:
    """The MPI library that mpi4py is linked with: a handle finds what it depends on, too."""
    from mpi4py import MPI

    return ctypes.CDLL(MPI.__file__)


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
