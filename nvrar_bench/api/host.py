"""Calls on CPU ranks: arrays of host memory, and no streams."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from nvrar_bench.api import dlpack
from nvrar_bench.api.calls import Calls
from nvrar_bench.api.operand import Operand, read
from nvrar_bench.datatypes import DTYPES
from nvrar_bench.devices.cpu import CpuDevice, HostBlock
from nvrar_bench.devices.operation import Operation
from nvrar_bench.errors import UsageError

_T = TypeVar("_T")
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


class HostCalls(Calls):
    """Arrays are NumPy's, and a call is done when it returns."""

    def __init__(self, device: CpuDevice) -> None:
        self._device = device
        self._blocks: list[HostBlock] = []
        # What `empty` returned, its dtype then, and what it is. None other may get its id.
        self._own: dict[int, tuple[Any, Any, Operand]] = {}

    def empty(self, operand: Operand) -> tuple[Any, int]:
        """Return the first bytes of a block as an array of NumPy."""
        dtype = DTYPES[operand.dtype].numpy
        block = self._device.memory.allocate(max(operand.nbytes, 1), "symmetric")
        self._blocks.append(block)
        array = block.view(0, operand.nbytes, dtype).reshape(operand.shape)
        array = array.view(ExportedArray) if dtype in _EXPORTED else array
        address = int(block.bytes.ctypes.data)
        self._own[id(array)] = array, array.dtype, operand._replace(address=address)
        return array, address

    def operand(self, name: str, array: Any) -> Operand:
        """Look it up, or read it."""
        own = self._own.get(id(array))
        if own is not None and own[1] is array.dtype:
            return own[2]
        return array if type(array) is Operand else read(name, array, dlpack.HOST)

    def stream(self, stream: Any) -> int:
        """Refuse one."""
        if stream is not None:
            raise UsageError(f"stream {stream}: allowed on the cpu device: None")
        return 0

    def prepare(self, action: Callable[[], _T], stream: int) -> _T:  # noqa: ARG002
        """Run it."""
        return action()

    def launch(self, operation: Operation, stream: int) -> None:  # noqa: ARG002
        """Call it."""
        operation.launch()

    def synchronize(self, operation: Operation | None, stream: int) -> None:
        """All is done."""

    def close(self, release: Callable[[], None], is_orderly: bool) -> None:  # noqa: ARG002
        """Forget the blocks: what is in them lives as long as an array on it."""
        release()
        self._own.clear()
        for block in self._blocks:
            self._device.memory.release(block)
        self._blocks.clear()
        self._device.close()
