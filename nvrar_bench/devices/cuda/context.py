"""One GPU, its primary context and one stream: waits that end, kernels and their launch."""

from __future__ import annotations

import contextlib
import ctypes
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from nvrar_bench.devices.cuda.calls import Calls, CudaError
from nvrar_bench.devices.cuda.driver import Gpu
from nvrar_bench.errors import TimedOut, UsageError

_T = TypeVar("_T")
_POLLS_AT_FULL_SPEED = 5000
_NAP_S = 20e-6
_KERNELS_FIRST_S = 1.0  # a kernel that gives up knows whom it waited for


@dataclass(frozen=True, eq=False)
class LoadedKernel:
    """A kernel in the context of a GPU."""

    name: str
    function: Any
    library: Any


class GpuContext:
    """A GPU that this process works on. `who` is the rank in words, for messages.

    Every wait ends after `timeout` seconds.
    """

    def __init__(self, calls: Calls, gpu: Gpu, who: str, timeout: float) -> None:
        self.calls, self.gpu, self.who, self.timeout = calls, gpu, who, timeout
        calls.cuInit(0)
        self._device = calls.cuDeviceGet(gpu.ordinal)
        # The primary context is the one that NCCL, NVSHMEM and MPI use too.
        calls.cuCtxSetCurrent(calls.cuDevicePrimaryCtxRetain(self._device))
        # It does not wait for the default stream, on which libraries may queue something.
        self._stream = calls.cuStreamCreate(calls.CUstream_flags.CU_STREAM_NON_BLOCKING)
        self._drained = calls.cuEventCreate(calls.CUevent_flags.CU_EVENT_DISABLE_TIMING)
        self._libraries: dict[bytes, Any] = {}  # by their code: a library has many kernels
        self._resident: dict[tuple[LoadedKernel, int], int] = {}

    @property
    def stream_handle(self) -> int:
        """The stream as an address (cudaStream_t)."""
        return int(self._stream)

    def run_on(self, stream: int, action: Callable[[], _T]) -> _T:
        """Run `action`, whose work goes to `stream`, which is somebody else's."""
        own, self._stream = self._stream, stream
        try:
            return action()
        finally:
            self._stream = own

    def drain(self, what: str) -> None:
        """Wait until all that was enqueued has run, which is `what` in words (TimedOut)."""
        self.calls.cuEventRecord(self._drained, self._stream)
        self.await_event(self._drained, what)

    def await_event(self, event: Any, what: str) -> None:
        """Wait for a recorded event; as `drain`."""
        deadline = time.monotonic() + self.timeout + _KERNELS_FIRST_S
        polls = 0
        while not self.calls.is_done(event):
            if time.monotonic() > deadline:
                raise TimedOut(f"{self.who}: the GPU did not finish {what} in {self.timeout:g} s")
            polls += 1
            if polls > _POLLS_AT_FULL_SPEED:
                time.sleep(_NAP_S)

    def load(self, cubin: bytes, entry: str) -> LoadedKernel:
        """Load a kernel now: a first launch that loads could wait for a stream that is held."""
        calls = self.calls
        if cubin not in self._libraries:
            found = calls.cuLibraryLoadData(cubin, None, None, 0, None, None, 0)
            self._libraries[cubin] = found
        library = self._libraries[cubin]
        kernel = calls.cuLibraryGetKernel(library, entry.encode())
        return LoadedKernel(entry, calls.cuKernelGetFunction(kernel), library)

    def launch(
        self, kernel: LoadedKernel, grid: int | tuple[int, int], block: int, *arguments: Any
    ) -> None:
        """Enqueue `kernel` on `grid` blocks, or on rows of them: (blocks of a row, rows).

        An int among the arguments is a pointer or a 64-bit word, a ctypes object goes by value.
        """
        blocks, rows = grid if isinstance(grid, tuple) else (grid, 1)
        values = [ctypes.c_uint64(a) if isinstance(a, int) else a for a in arguments]
        pointers = (ctypes.c_void_p * len(values))(*map(ctypes.addressof, values))
        how = (kernel.function, blocks, rows, 1, block, 1, 1, 0, self._stream)
        # The driver has copied the arguments when it returns.
        self.calls.cuLaunchKernel(*how, ctypes.addressof(pointers), 0)

    def resident_blocks(self, kernel: LoadedKernel, threads: int) -> int:
        """How many blocks of `threads` threads the GPU runs at the same time."""
        if (kernel, threads) not in self._resident:
            ask = self.calls.cuOccupancyMaxActiveBlocksPerMultiprocessor
            per_sm = ask(kernel.function, threads, 0)
            self._resident[kernel, threads] = int(per_sm) * self.gpu.sms
        return self._resident[kernel, threads]

    def require_resident(self, kernel: LoadedKernel, blocks: int, threads: int) -> None:
        """Refuse blocks that wait for each other and do not all run at once (UsageError)."""
        room = self.resident_blocks(kernel, threads)
        if blocks > room:
            raise UsageError(
                f"{kernel.name}: {blocks} blocks of {threads} threads wait for each other, and "
                f"{self.gpu.name} runs {room} of them at once; use at most {room} blocks"
            )

    def close(self) -> None:
        """Give everything back; what was loaded cannot be launched any more."""
        for library in self._libraries.values():
            self.calls.cuLibraryUnload(library)
        self._libraries.clear()
        self.calls.cuEventDestroy(self._drained)
        self.calls.cuStreamDestroy(self._stream)
        self.calls.cuDevicePrimaryCtxRelease(self._device)


# The gate and the guard of the run come first: they know which rank is late.
_EXTRA_S = 5.0
_WORD_BYTES = 8  # kernels/cuda_gate.cuh reads 64 bits


class Hold:
    """Stops the stream until the host lets it go. Two words of host memory that the GPU maps."""

    def __init__(self, context: GpuContext, cubin: bytes) -> None:
        cu = context.calls
        self._context, self._ticket = context, 0
        self._memory = int(cu.cuMemHostAlloc(2 * _WORD_BYTES, cu.CU_MEMHOSTALLOC_DEVICEMAP))
        self._mapped = int(cu.cuMemHostGetDevicePointer(self._memory, 0))
        self._released = ctypes.c_uint64.from_address(self._memory)
        self._expired = ctypes.c_uint64.from_address(self._memory + _WORD_BYTES)
        self._released.value = self._expired.value = 0
        self._timeout_ns = int((context.timeout + _EXTRA_S) * 1e9)
        self._kernel = context.load(cubin, "nvrar_hold")

    def enqueue(self) -> None:
        """What is enqueued from here on waits for `release`."""
        self._ticket += 1
        words = (self._mapped, self._mapped + _WORD_BYTES)
        self._context.launch(self._kernel, 1, 1, *words, self._ticket, self._timeout_ns)

    def release(self) -> None:
        """Let the stream go on."""
        self._released.value = self._ticket

    def require_kept(self) -> None:
        """Refuse a sample that began before its release (TimedOut), when the stream has run."""
        if self._expired.value == self._ticket:
            raise TimedOut(
                f"{self._context.who}: the start was not released in {self._timeout_ns / 1e9:g} s"
            )

    def close(self) -> None:
        """Give the host memory back."""
        self._context.calls.cuMemFreeHost(self._memory)


class Graph:
    """`calls` calls of `launch`, captured once and launched as one."""

    def __init__(self, context: GpuContext, launch: Callable[[], None], calls: int) -> None:
        self._cu, self._stream = context.calls, context.stream_handle
        graph = self._capture(launch, calls)
        try:
            self._executable = self._cu.cuGraphInstantiate(graph, 0)
        finally:
            self._cu.cuGraphDestroy(graph)
        self._cu.cuGraphUpload(self._executable, self._stream)

    def _capture(self, launch: Callable[[], None], calls: int) -> Any:
        # Relaxed: libraries may allocate while they enqueue.
        mode = self._cu.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED
        self._cu.cuStreamBeginCapture(self._stream, mode)
        try:
            for _ in range(calls):
                launch()
        except BaseException:
            with contextlib.suppress(CudaError):  # what broke the capture says more
                self._cu.cuStreamEndCapture(self._stream)
            raise
        return self._cu.cuStreamEndCapture(self._stream)

    def launch(self) -> None:
        """Enqueue all of them."""
        self._cu.cuGraphLaunch(self._executable, self._stream)

    def close(self) -> None:
        """Forget them."""
        self._cu.cuGraphExecDestroy(self._executable)
