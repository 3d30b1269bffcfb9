"""Calls captured in a CUDA graph."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from nvrar_bench.devices.cuda.calls import CudaError
from nvrar_bench.devices.cuda.context import GpuContext


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
