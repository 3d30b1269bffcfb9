"""Calls on CPU ranks: arrays of host memory, and no streams."""

from __future__ import annotations

from typing import Any

import numpy as np

from nvrar_bench.api import dlpack
from nvrar_bench.api.operand import Operand
from nvrar_bench.datatypes import DTYPES
from nvrar_bench.devices.cpu import CpuDevice, HostBlock
from nvrar_bench.devices.operation import Operation
from nvrar_bench.errors import UsageError

_EXPORTED = {DTYPES[name].numpy: name for name in dlpack.BEYOND_NUMPY}


class ExportedArray(np.ndarray[Any, Any]):
    """A NumPy array of bfloat16 or an 8-bit float, which NumPy's own DLPack lacks."""

    def __dlpack__(self, *, stream: Any = None, **how: Any) -> Any:
        """Export it under its own dtype, without a copy.

        Raises:
            BufferError: a copy is asked for, or another device.
        """
        if self.dtype not in _EXPORTED:  # what was computed of such arrays
            return super().__dlpack__(stream=stream, **how)
        dlpack.require_in_place(dlpack.HOST, how.get("dl_device"), how.get("copy"))
        unsigned = self.view(np.ndarray).view(f"u{self.itemsize}")
        return dlpack.export(unsigned, _EXPORTED[self.dtype], dlpack.HOST)


class HostCalls:
    """What `AllReduce` asks of the device: arrays, launches and waits."""

    home = dlpack.HOST

    def __init__(self, device: CpuDevice) -> None:
        self._device = device

    def array(self, block: HostBlock, operand: Operand) -> Any:
        """The first bytes of a block as an array of NumPy."""
        dtype = DTYPES[operand.dtype].numpy
        array = block.view(0, operand.nbytes, dtype).reshape(operand.shape)
        return array.view(ExportedArray) if dtype in _EXPORTED else array

    def stream(self, stream: Any) -> int:
        """Refuse a stream.

        Raises:
            UsageError: one is given.
        """
        if stream is not None:
            raise UsageError(f"stream {stream}: allowed on the cpu device: None")
        return 0

    def launch(self, operation: Operation, stream: int) -> None:  # noqa: ARG002
        """Call it; it is done on return."""
        operation.launch()
