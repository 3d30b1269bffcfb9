"""cuda.bindings.driver for tests: device memory is host memory, kernels are compiled for the CPU.

Work is queued and runs when somebody asks whether an event is done, as far as a hold lets it. The
GPU has a clock of its own: every kernel takes `kernel_ns`, everything else nothing. `log` holds the
names of the calls, and of the kernels as they run ("run nvrar_spoil"). Of kernels in `noted` the
arguments go to `notes`, and they do nothing.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

import numpy as np

from nvrar_bench.toolchain import host
from nvrar_bench.toolchain.structs import CVirtualRanks

# Kernels by their names' beginnings: how many arguments, and which one repeats the grid's blocks.
_KERNELS = {
    "nvrar_hold": (4, None),
    "nvrar_nothing": (0, None),
    "nvrar_spoil": (9, 2),
    "nvrar_check_exact": (10, 2),
    "nvrar_check_rounding": (11, 2),
    "nvrar_inputs": (7, 2),
    "nvrar_expected": (4, 2),
    "nvrar_reference": (5, 3),
    "nvrar_fill_memory": (3, 2),
    "nvrar_read_memory": (3, 2),
    "nvrar_spin": (1, None),
}
_ALL_REDUCE = (
    "nvrar_all_reduce"  # of the fabric loopback: a launch of it is emulated, thread by thread
)


class CUresult(IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_VALUE = 1
    CUDA_ERROR_OUT_OF_MEMORY = 2
    CUDA_ERROR_NO_DEVICE = 100
    CUDA_ERROR_INVALID_DEVICE = 101
    CUDA_ERROR_NOT_READY = 600
    CUDA_ERROR_ILLEGAL_ADDRESS = 700
    CUDA_ERROR_LAUNCH_FAILED = 719
    CUDA_ERROR_SYSTEM_DRIVER_MISMATCH = 803
    CUDA_ERROR_MPS_RPC_FAILURE = 806


ATTRIBUTES = {
    "COMPUTE_CAPABILITY_MAJOR": 9,
    "COMPUTE_CAPABILITY_MINOR": 0,
    "MULTIPROCESSOR_COUNT": 4,
    "L2_CACHE_SIZE": 8192,
    "CLOCK_RATE": 1980000,
    "MEMORY_CLOCK_RATE": 0,
}


class FakeDriver:
    CUresult = CUresult
    CUdevice_attribute = SimpleNamespace(
        **{f"CU_DEVICE_ATTRIBUTE_{name}": value for name, value in ATTRIBUTES.items()}
    )
    CUstream_flags = SimpleNamespace(CU_STREAM_NON_BLOCKING=1)
    CUevent_flags = SimpleNamespace(CU_EVENT_DEFAULT=0, CU_EVENT_DISABLE_TIMING=2)
    CUstreamCaptureMode = SimpleNamespace(CU_STREAM_CAPTURE_MODE_RELAXED=2)
    CU_MEMHOSTALLOC_DEVICEMAP = 2
    CUmemorytype = SimpleNamespace(CU_MEMORYTYPE_DEVICE=2)
    CUDA_MEMCPY2D = SimpleNamespace
    CUpointer_attribute = SimpleNamespace(CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL=9)

    def __init__(self, gpus: int = 1, memory: int = 1 << 24, version: int = 13000) -> None:
        self.gpus, self.memory, self.version = gpus, memory, version
        self.log: list[str] = []
        self.fail: dict[str, CUresult] = {}
        self.kernel_ns = 5000
        self.blocks_per_sm = 2
        self.clock_ns = 0
        self.stuck = False
        self.noted: set[str] = set()
        self.notes: list[tuple[str, list[int]]] = []
        self.capabilities: dict[int, tuple[int, int]] = {}  # of GPUs that are not sm_90
        self.uuids = [bytes([number] * 16) for number in range(gpus)]
        self.held: dict[int, Any] = {}
        self.elsewhere: dict[int, int] = {}  # GPUs of memory that is not on the first one
        self._queue: deque[Callable[[], bool]] = deque()
        self._captured: list[Callable[[], bool]] | None = None
        self._done: dict[int, int] = {}  # when each event was passed, on the GPU's clock
        self._objects: list[Any] = [None]  # handles are indices

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if not name.startswith("cu"):
            return found

        def call(*arguments: Any) -> tuple[Any, ...]:
            self.log.append(name)
            if name in self.fail:
                return (self.fail[name], None)
            result = found(*arguments)
            return result if isinstance(result, tuple) else (CUresult.CUDA_SUCCESS, result)

        return call

    def calls(self, *names: str) -> list[str]:
        """The log, of these calls alone."""
        return [name for name in self.log if name in names]

    # ---- the GPU

    def cuInit(self, flags):  # noqa: N802
        return (CUresult.CUDA_SUCCESS,)

    def cuDriverGetVersion(self):  # noqa: N802
        return self.version

    def cuDeviceGetCount(self):  # noqa: N802
        return self.gpus

    def cuDeviceGet(self, ordinal):  # noqa: N802
        return ordinal

    def cuDeviceGetName(self, length, device):  # noqa: N802
        return b"Fake GPU\0\0".ljust(length, b"\0")

    def cuDeviceGetUuid(self, device):  # noqa: N802
        return SimpleNamespace(bytes=self.uuids[device])

    def cuDeviceTotalMem(self, device):  # noqa: N802
        return self.memory

    def cuDeviceGetAttribute(self, attribute, device):  # noqa: N802
        parts = (ATTRIBUTES["COMPUTE_CAPABILITY_MAJOR"], ATTRIBUTES["COMPUTE_CAPABILITY_MINOR"])
        if device in self.capabilities and attribute in parts:
            return self.capabilities[device][parts.index(attribute)]
        return attribute

    def cuGetErrorString(self, code):  # noqa: N802
        return b"what it means"

    def cuDevicePrimaryCtxRetain(self, device):  # noqa: N802
        return 77

    def cuDevicePrimaryCtxRelease(self, device):  # noqa: N802
        return (CUresult.CUDA_SUCCESS,)

    def cuCtxSetCurrent(self, context):  # noqa: N802
        return (CUresult.CUDA_SUCCESS,)

    def cuCtxSynchronize(self):  # noqa: N802
        self.cuEventQuery(None)
        return (CUresult.CUDA_SUCCESS,)

    # ---- memory

    def cuMemAlloc(self, nbytes):  # noqa: N802
        if nbytes > self.memory - sum(array.nbytes for array in self.held.values()):
            return (CUresult.CUDA_ERROR_OUT_OF_MEMORY, None)
        array = np.full(nbytes, 0xEE, np.uint8)
        self.held[array.ctypes.data] = array
        return array.ctypes.data

    def cuMemFree(self, address):  # noqa: N802
        del self.held[address]
        return (CUresult.CUDA_SUCCESS,)

    cuMemFreeHost = cuMemFree  # noqa: N815

    def cuMemHostAlloc(self, nbytes, flags):  # noqa: N802
        return self.cuMemAlloc(nbytes)[1]

    def cuMemHostGetDevicePointer(self, address, flags):  # noqa: N802
        return address

    def cuMemGetInfo(self):  # noqa: N802
        free = self.memory - sum(array.nbytes for array in self.held.values())
        return (CUresult.CUDA_SUCCESS, free, self.memory)

    def cuPointerGetAttribute(self, attribute, address):  # noqa: N802
        return self.elsewhere.get(address, 0)

    def cuMemsetD8Async(self, address, value, nbytes, stream):  # noqa: N802
        return self._enqueue(lambda: ctypes.memset(address, value, nbytes))

    def _copy(self, target, source, nbytes, stream):
        assert nbytes > 0, "CUDA refuses to copy nothing"
        return self._enqueue(lambda: ctypes.memmove(target, source, nbytes))

    cuMemcpyDtoDAsync = cuMemcpyHtoDAsync = cuMemcpyDtoHAsync = _copy  # noqa: N815

    def cuMemcpy2DAsync(self, how, stream):  # noqa: N802
        assert how.WidthInBytes <= min(how.srcPitch, how.dstPitch), "CUDA refuses such rows"
        assert how.srcMemoryType == how.dstMemoryType == self.CUmemorytype.CU_MEMORYTYPE_DEVICE
        for row in range(how.Height):
            target, source = how.dstDevice + row * how.dstPitch, how.srcDevice + row * how.srcPitch
            self._copy(target, source, how.WidthInBytes, stream)

    # ---- streams, events, graphs

    def cuStreamCreate(self, flags):  # noqa: N802
        return self._handle("stream")

    def cuStreamDestroy(self, stream):  # noqa: N802
        return (CUresult.CUDA_SUCCESS,)

    def cuEventCreate(self, flags):  # noqa: N802
        return self._handle("event")

    cuEventDestroy = cuLibraryUnload = cuGraphDestroy = cuGraphExecDestroy = cuStreamDestroy  # noqa: N815

    def cuEventRecord(self, event, stream):  # noqa: N802
        self._done.pop(event, None)
        return self._enqueue(lambda: self._done.update({event: self.clock_ns}))

    def cuEventQuery(self, event):  # noqa: N802
        while self._queue and not self.stuck and self._queue[0]():
            self._queue.popleft()
        return (CUresult.CUDA_SUCCESS if event in self._done else CUresult.CUDA_ERROR_NOT_READY,)

    def cuEventElapsedTime(self, start, stop):  # noqa: N802
        return (self._done[stop] - self._done[start]) / 1e6

    def cuStreamBeginCapture(self, stream, mode):  # noqa: N802
        self._captured = []
        return (CUresult.CUDA_SUCCESS,)

    def cuStreamIsCapturing(self, stream):  # noqa: N802
        return int(self._captured is not None)

    def cuStreamEndCapture(self, stream):  # noqa: N802
        captured, self._captured = self._captured, None
        return self._handle(captured)

    def cuGraphInstantiate(self, graph, flags):  # noqa: N802
        return self._handle(self._objects[graph])

    def cuGraphUpload(self, executable, stream):  # noqa: N802
        return (CUresult.CUDA_SUCCESS,)

    def cuGraphLaunch(self, executable, stream):  # noqa: N802
        self._queue.extend(self._objects[executable])
        return (CUresult.CUDA_SUCCESS,)

    # ---- kernels

    def cuLibraryLoadData(self, code, options, values, count, more, values_of_more, count_of_more):  # noqa: N802
        return self._handle(host.load(code.decode()))

    def cuLibraryGetKernel(self, library, name):  # noqa: N802
        entry = "nvrar_launch" if name.decode() == _ALL_REDUCE else name.decode()
        return self._handle((name.decode(), self._objects[library][entry]))

    def cuKernelGetFunction(self, kernel):  # noqa: N802
        return kernel

    def cuOccupancyMaxActiveBlocksPerMultiprocessor(self, function, threads, shared):  # noqa: N802
        return self.blocks_per_sm

    def cuLaunchKernel(self, function, gx, gy, gz, bx, by, bz, shared, stream, arguments, extra):  # noqa: N802
        name, code = self._objects[function]
        if name == _ALL_REDUCE:
            return self._launch_all_reduce(code, gy, gx, bx, arguments)
        count, blocks_at = next(v for k, v in _KERNELS.items() if name.startswith(k))
        pointers = (ctypes.c_void_p * count).from_address(arguments) if count else ()
        values = [ctypes.c_uint64.from_address(pointer).value for pointer in pointers]
        if blocks_at is not None:
            assert values[blocks_at] == gx
            values[blocks_at] = 1  # on the CPU there is one

        def run() -> bool:
            if name == "nvrar_hold" and ctypes.c_uint64.from_address(values[0]).value < values[2]:
                return False
            self.log.append(f"run {name}")
            if name in self.noted:
                self.notes.append((name, values))
            else:
                code(*map(ctypes.c_uint64, values))
            self.clock_ns += self.kernel_ns
            return True

        return self._enqueue(run)

    def _launch_all_reduce(self, code, rows, blocks, threads, arguments):
        (pointer,) = (ctypes.c_void_p * 1).from_address(arguments)
        ranks = CVirtualRanks.from_buffer_copy(CVirtualRanks.from_address(pointer))  # by value

        def run() -> None:
            self.log.append(f"run {_ALL_REDUCE} {rows * blocks}x{threads}")
            if _ALL_REDUCE not in self.noted:
                code(ctypes.byref(ranks), rows, blocks, threads)
            self.clock_ns += self.kernel_ns

        return self._enqueue(run)

    # ---- inside

    def _enqueue(self, action: Callable[[], Any]) -> tuple[CUresult]:
        def run() -> bool:
            return action() is not False

        (self._queue if self._captured is None else self._captured).append(run)
        return (CUresult.CUDA_SUCCESS,)

    def _handle(self, meaning: Any) -> int:
        self._objects.append(meaning)
        return len(self._objects) - 1
