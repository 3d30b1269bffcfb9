"""A kernel that stops the stream until the host lets it go."""

from __future__ import annotations

import ctypes

from nvrar_bench.devices.cuda.context import GpuContext
from nvrar_bench.errors import TimedOut

# The gate and the guard of the run come first: they know who is late.
_EXTRA_S = 5.0
_WORD_BYTES = 8


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
        self._context.launch(
            self._kernel, 1, 1, self._mapped, self._mapped + _WORD_BYTES, self._ticket,
            self._timeout_ns,
        )  # fmt: skip

    def release(self) -> None:
        """Let the stream go on."""
        self._released.value = self._ticket

    def require_kept(self) -> None:
        """Refuse a sample that began before it was released; call it when the stream has run.

        Raises:
            TimedOut: the hold passed its deadline first.
        """
        if self._expired.value == self._ticket:
            raise TimedOut(
                f"{self._context.who}: the start was not released in {self._timeout_ns / 1e9:g} s"
            )

    def close(self) -> None:
        """Give the host memory back."""
        self._context.calls.cuMemFreeHost(self._memory)
