"""Pinned host memory, through which small things go to the GPU and come back.

A copy to or from memory that is not pinned makes CUDA wait for the GPU, without a deadline.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt

from nvrar_bench.devices.cuda.calls import Calls

_AT_FIRST = 64 << 10


class Staging:
    """As large as the largest copy so far. Who copies waits before the next one does."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self.address, self._nbytes = 0, 0
        self.grow(_AT_FIRST)

    def holds(self, nbytes: int) -> bool:
        """Whether there is room for so many bytes."""
        return nbytes <= self._nbytes

    def grow(self, nbytes: int) -> None:
        """Make room; CUDA waits for the GPU here."""
        self.close()
        flags = self._calls.CU_MEMHOSTALLOC_DEVICEMAP
        self.address = int(self._calls.cuMemHostAlloc(nbytes, flags))
        self._nbytes = nbytes

    def view(self, nbytes: int) -> npt.NDArray[Any]:
        """The first bytes, as they are at any time."""
        return np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(self.address))

    def close(self) -> None:
        """Give it back."""
        if self._nbytes:
            self._calls.cuMemFreeHost(self.address)
        self._nbytes = 0
