"""Work between all-reduces on a GPU (kernels/work.cuh, cuBLAS), and several operations as one."""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable, Iterable
from functools import cached_property, partial
from typing import Any

import numpy as np

from nvrar_bench.datatypes import DTYPES
from nvrar_bench.devices.cuda.context import GpuContext, Graph
from nvrar_bench.devices.cuda.elements import grid_for
from nvrar_bench.devices.cuda.memory import DeviceArray, GpuMemory
from nvrar_bench.devices.operation import Operation, SequenceOperation, WorkPart
from nvrar_bench.devices.work import Gemm, Spin, Turns, Works
from nvrar_bench.errors import NvrarBenchError, Problem, Unavailable
from nvrar_bench.toolchain.structs import CWorkMemory
from nvrar_bench.world import World

# cudaDataType_t and cublasComputeType_t; 16-bit floats accumulate in 32 bits.
TYPES = {"float32": (0, 68), "float64": (1, 70), "float16": (2, 68), "bfloat16": (14, 68)}
WORKSPACE_BYTES = 32 << 20  # what cuBLAS takes on sm_90; its own would be allocated in a capture
_TRANSPOSED, _AS_IT_IS = 1, 0  # cublasOperation_t
_DEFAULT = -1  # cublasGemmAlgo_t


class CublasError(NvrarBenchError):
    """A function of cuBLAS failed."""


class Cublas:
    """A handle of cuBLAS, on one stream; a failed function raises CublasError.

    Unavailable where nvmath-python or cuBLAS is not installed.
    """

    def __init__(self, stream: int, workspace: int, install: str, library: Any = None) -> None:
        """`workspace` is WORKSPACE_BYTES of GPU memory; `install` is the command that installs."""
        self._cublas = library or _bindings(install)
        try:
            self._handle = self._cublas.create()
        except Exception as error:  # where the library is missing, it says so in many ways
            raise Unavailable(Problem(f"cuBLAS cannot be used ({error})", install)) from error
        self._call("set_stream", stream)
        self._call("set_workspace", workspace, WORKSPACE_BYTES)
        self._one = {68: ctypes.c_float(1), 70: ctypes.c_double(1)}
        self._zero = {68: ctypes.c_float(0), 70: ctypes.c_double(0)}

    def multiply(
        self, dtype: str, shape: tuple[int, int, int], left: int, weights: int, out: int
    ) -> None:
        """Enqueue (m, k) at `left` by the transpose of (n, k) at `weights`; rows are contiguous."""
        (m, n, k), (kind, compute) = shape, TYPES[dtype]
        one, zero = (ctypes.addressof(each[compute]) for each in (self._one, self._zero))
        # cuBLAS counts by columns: what it sees is the transpose of everything.
        factors = (one, weights, kind, k, left, kind, k)
        result = (zero, out, kind, n, compute, _DEFAULT)
        self._call("gemm_ex", _TRANSPOSED, _AS_IT_IS, n, m, k, *factors, *result)

    def close(self) -> None:
        """Give the handle back."""
        self._call("destroy")

    def _call(self, name: str, *arguments: int) -> None:
        try:
            getattr(self._cublas, name)(self._handle, *arguments)
        except RuntimeError as error:
            raise CublasError(f"{name} of cuBLAS failed: {error}") from error


def _bindings(install: str) -> Any:
    try:
        return importlib.import_module("nvmath.bindings.cublas")
    except ImportError as error:
        what = f"nvmath-python, which calls cuBLAS, cannot be imported ({error})"
        raise Unavailable(Problem(what, install)) from error


class GpuSequence(SequenceOperation):
    """All parts in order. With `graph`, launches behind the first are of one graph.

    The first is queued part by part: what libraries load or connect on first use cannot be
    captured. Without `graph`, or with a part that returns only when it is done (MPI), each launch
    is: it then ends when the GPU is done, and what the host takes to launch belongs to its time.
    """

    def __init__(self, parts: Iterable[Operation], context: GpuContext, graph: bool) -> None:
        super().__init__(parts)
        self._context = context
        self.stream_ordered = graph and all(part.stream_ordered for part in self.times)
        self._was_launched = False
        self._graph: Graph | None = None

    def launch(self) -> None:
        if self.stream_ordered and self._was_launched:
            self._captured().launch()
            return
        super().launch()
        self._was_launched = True
        if not self.stream_ordered:
            self._context.drain(self.variant)

    def _captured(self) -> Graph:
        if self._graph is None:
            self._graph = Graph(self._context, super().launch, 1)
        return self._graph

    def close(self) -> None:
        if self._graph is not None:
            self._graph.close()
        super().close()


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
