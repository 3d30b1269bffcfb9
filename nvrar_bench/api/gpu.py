"""Calls on GPUs: arrays in NVSHMEM's heap, launches on the caller's streams, capture."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import numpy as np

from nvrar_bench.api.caller import Caller
from nvrar_bench.api.operand import (
    CUDA,
    Operand,
    Place,
    export,
    in_words,
    read,
    require_home,
    require_in_place,
)
from nvrar_bench.datatypes import DTYPES
from nvrar_bench.devices.cuda.device import CudaDevice
from nvrar_bench.devices.cuda.memory import GpuBlock
from nvrar_bench.devices.operation import Operation
from nvrar_bench.errors import TimedOut, UsageError

_T = TypeVar("_T")
_DEFAULT_STREAM = 0  # CUDA's own: the one that PyTorch and CuPy use unless they are told another


class SymmetricArray:
    """An array in the symmetric memory of a GPU, for other libraries to look at.

    `torch.from_dlpack(array)` and `cupy.from_dlpack(array)` give arrays on the same memory.

    Attributes:
        shape, dtype, nbytes: as of NumPy; `dtype` is NumPy's, of ml_dtypes where NumPy has none.
        operand: what a call needs of it.
    """

    def __init__(self, operand: Operand, device: Place) -> None:
        self.operand, self._device = operand, device
        self.shape, self.nbytes = operand.shape, operand.nbytes
        self.dtype = DTYPES[operand.dtype].numpy
        self.is_open = True

    def __repr__(self) -> str:
        where = in_words(self._device)
        return f"<SymmetricArray {self.operand.dtype} {self.shape} on {where}>"

    def __dlpack_device__(self) -> Place:
        """CUDA and the number of the GPU."""
        return self._device

    def __dlpack__(self, **how: Any) -> Any:
        """Export it where it lies, for any stream. Calls queued on it are not waited for.

        UsageError: its backend is closed. BufferError: a copy is asked for, or another device.
        """
        self.require_open("array")
        require_in_place(self._device, how.get("dl_device"), how.get("copy"))
        return export(np.asarray(_AsHost(self)), self.operand.dtype, self._device)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Version 3; bfloat16 and 8-bit floats have no name there, and appear as bytes (`V`)."""
        self.require_open("array")
        return {**_interface(self, self.dtype.str), "strides": None, "stream": None}

    def require_open(self, name: str) -> None:
        """Refuse it when its memory may be gone: its backend is closed (UsageError)."""
        if not self.is_open:
            raise UsageError(f"{name}: the backend that made this array is closed")


class _AsHost:
    """GPU memory as an array of NumPy: nobody reads it there, and NumPy makes a capsule of it."""

    def __init__(self, array: SymmetricArray) -> None:
        self.array = array  # alive as long as the capsule
        self.__array_interface__ = _interface(array, f"<u{array.dtype.itemsize}")


def _interface(array: SymmetricArray, kind: str) -> dict[str, Any]:
    """What the array interfaces of NumPy and of CUDA share."""
    data = (array.operand.address, False)  # it may be written
    return {"shape": array.shape, "typestr": kind, "data": data, "version": 3}


class GpuCaller(Caller):
    """Calls are queued on the caller's stream, as kernels are."""

    def __init__(self, device: CudaDevice) -> None:
        self._device, self._context = device, device.context
        self._home: Place = (CUDA, device.gpu.ordinal)
        self._made: list[tuple[GpuBlock, weakref.ref[SymmetricArray]]] = []
        self._has_failed = False

    def empty(self, operand: Operand) -> tuple[Any, int]:
        block = self._device.memory.allocate(max(operand.nbytes, 1), "symmetric")
        array = SymmetricArray(operand._replace(address=block.address), self._home)
        self._made.append((block, weakref.ref(array)))
        return array, block.address

    def operand(self, name: str, array: Any) -> Operand:
        if isinstance(array, SymmetricArray):
            array.require_open(name)
            return array.operand
        if type(array) is Operand:
            return array
        found = read(name, array, self._home)
        if not hasattr(array, "__dlpack__"):
            self._require_here(name, found.address)
        return found

    def _require_here(self, name: str, address: int) -> None:
        """Ask the driver: the CUDA array interface names no GPU."""
        calls = self._context.calls
        which = calls.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
        number = int(calls.cuPointerGetAttribute(which, address))
        require_home(name, (CUDA, number), self._home)

    def stream(self, stream: Any) -> int:
        """Take an address, or an object of PyTorch, CuPy or cuda.core; None: CUDA's default."""
        if stream is None:
            return _DEFAULT_STREAM
        if isinstance(stream, int):
            return stream
        for name in ("cuda_stream", "ptr"):
            if hasattr(stream, name):
                return int(getattr(stream, name))
        if hasattr(stream, "__cuda_stream__"):
            _, address = stream.__cuda_stream__()
            return int(address)
        raise UsageError(
            f"stream is a {type(stream).__name__}; allowed: None, the address of a stream, or an "
            "object with cuda_stream, ptr or __cuda_stream__"
        )

    def prepare(self, action: Callable[[], _T], stream: int) -> _T:
        """Run it on the caller's stream, so that it comes behind the calls before it."""
        if self._is_captured(stream):
            raise UsageError(
                "this call is not prepared, and a stream that is captured does not allow to: call "
                "it once, with the same arrays and op, before capturing"
            )
        return self._context.run_on(stream, action)

    def launch(self, operation: Operation, stream: int) -> None:
        if not operation.stream_ordered and self._is_captured(stream):
            raise UsageError(
                "this backend waits for its result, so its calls cannot be captured; allowed: "
                "nvrar, nccl"
            )
        self._watched(operation.launch, stream)

    def synchronize(self, operation: Operation | None, stream: int) -> None:
        """Wait, with a deadline, and look whether a kernel gave up."""
        if operation is None:
            self._context.run_on(stream, lambda: self._context.drain("the work on a stream"))
        else:
            self._watched(lambda: self._device.finish(operation), stream)

    def _watched(self, action: Callable[[], None], stream: int) -> None:
        try:
            self._context.run_on(stream, action)
        except TimedOut:
            self._has_failed = True
            raise

    def _is_captured(self, stream: int) -> bool:
        calls = self._context.calls
        return int(calls.cuStreamIsCapturing(stream)) != 0

    def close(self, release: Callable[[], None], is_orderly: bool) -> None:
        """Free the memory of arrays that no rank uses any more; that of others stays as it is."""
        found = [array() for _, array in self._made]
        for array in filter(None, found):
            array.is_open = False
        if not is_orderly or self._has_failed:
            return  # peers may never come to what is collective
        # Streams of callers are not known any more. Kernels of calls end by their deadline.
        self._context.calls.cuCtxSynchronize()
        release()
        is_used = [array is not None for array in found]
        everyone = self._device.world.comm.allgather(is_used)
        for (block, array), *used in zip(self._made, *everyone, strict=True):
            if any(used):
                self._device.memory.leave(block, partial(_is_alive, array))
            else:
                self._device.memory.release(block)
        self._device.close()


def _is_alive(array: weakref.ref[SymmetricArray]) -> bool:
    """Whether somebody holds the array, or what was made of it."""
    return array() is not None
