"""What `AllReduce` asks of a device: arrays, launches on a stream, waits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from nvrar_bench.api.operand import BEYOND_NUMPY, HOST, Operand, export, read, require_in_place
from nvrar_bench.datatypes import DTYPES
from nvrar_bench.devices.cpu import CpuDevice
from nvrar_bench.devices.operation import Operation
from nvrar_bench.devices.sharing import HostBlock
from nvrar_bench.errors import UsageError

_T = TypeVar("_T")


class Caller(ABC):
    """Makes calls on one device. A stream is an address (CUstream); on CPU ranks it is 0."""

    @abstractmethod
    def empty(self, operand: Operand) -> tuple[Any, int]:
        """Return an array in symmetric memory, as `operand` says, and its address. Collective."""

    @abstractmethod
    def operand(self, name: str, array: Any) -> Operand:
        """Look at what a call got as `name`, if it can be reduced here (UsageError)."""

    @abstractmethod
    def stream(self, stream: Any) -> int:
        """Return the stream of this device that the caller means (UsageError)."""

    @abstractmethod
    def prepare(self, action: Callable[[], _T], stream: int) -> _T:
        """Run `action`, which prepares a call that will run on `stream`.

        UsageError: the stream is being captured.
        """

    @abstractmethod
    def launch(self, operation: Operation, stream: int) -> None:
        """Run a prepared call, or queue it.

        UsageError: the stream is being captured, and the call cannot be. TimedOut: an earlier call
        failed, or this one.
        """

    @abstractmethod
    def synchronize(self, operation: Operation | None, stream: int) -> None:
        """Wait for all calls on `stream`; `operation` is one of this open, if there is any.

        TimedOut: one of them failed.
        """

    @abstractmethod
    def close(self, release: Callable[[], None], is_orderly: bool) -> None:
        """Wait for what is queued, `release` what uses memory, and give memory and device back.

        It is collective: what other ranks would have to take part in is left out unless
        `is_orderly`.
        """


_EXPORTED = {DTYPES[name].numpy: name for name in BEYOND_NUMPY}


class ExportedArray(np.ndarray[Any, Any]):
    """A NumPy array of bfloat16 or an 8-bit float, which NumPy's own DLPack lacks."""

    def __dlpack__(self, *, stream: Any = None, **how: Any) -> Any:
        """Export it under its own dtype, without a copy (BufferError)."""
        if self.dtype not in _EXPORTED:  # what was computed of such arrays
            return super().__dlpack__(stream=stream, **how)
        require_in_place(HOST, how.get("dl_device"), how.get("copy"))
        unsigned = self.view(np.ndarray).view(f"u{self.itemsize}")
        return export(unsigned, _EXPORTED[self.dtype], HOST)


class HostCaller(Caller):
    """Arrays are NumPy's, and a call is done when it returns."""

    def __init__(self, device: CpuDevice) -> None:
        self._device = device
        self._blocks: list[HostBlock] = []
        # What `empty` returned, its dtype then, and what it is. None other may get its id.
        self._own: dict[int, tuple[Any, Any, Operand]] = {}

    def empty(self, operand: Operand) -> tuple[Any, int]:
        dtype = DTYPES[operand.dtype].numpy
        block = self._device.memory.allocate(max(operand.nbytes, 1), "symmetric")
        self._blocks.append(block)
        array = block.view(0, operand.nbytes, dtype).reshape(operand.shape)
        array = array.view(ExportedArray) if dtype in _EXPORTED else array
        self._own[id(array)] = array, array.dtype, operand._replace(address=block.address)
        return array, block.address

    def operand(self, name: str, array: Any) -> Operand:
        own = self._own.get(id(array))
        if own is not None and own[1] is array.dtype:
            return own[2]
        return array if type(array) is Operand else read(name, array, HOST)

    def stream(self, stream: Any) -> int:
        if stream is not None:
            raise UsageError(f"stream {stream}: allowed on the cpu device: None")
        return 0

    def prepare(self, action: Callable[[], _T], stream: int) -> _T:  # noqa: ARG002
        return action()

    def launch(self, operation: Operation, stream: int) -> None:  # noqa: ARG002
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
