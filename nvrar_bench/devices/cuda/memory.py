"""GPU memory of one rank: blocks for buffers, arrays that own their memory, copies."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import EllipsisType
from typing import Any

import numpy as np
import numpy.typing as npt

from nvrar_bench.devices.base import Memory
from nvrar_bench.devices.cuda.calls import CudaError
from nvrar_bench.devices.cuda.context import GpuContext
from nvrar_bench.devices.cuda.heap import SymmetricHeap
from nvrar_bench.errors import Unavailable, UsageError


@dataclass(frozen=True, eq=False)
class DeviceArray:
    """Elements in GPU memory; does not own them unless `owner` is set."""

    address: int  # device pointer of row 0
    count: int  # elements per row
    dtype: np.dtype[Any]
    rows: int = 1  # virtual ranks that share this process (loopback); 1 everywhere else
    pitch: int = 0  # row r starts r * pitch bytes behind `address`
    owner: object = None  # keeps the memory alive

    @property
    def itemsize(self) -> int:
        """Bytes per element."""
        return int(self.dtype.itemsize)

    @property
    def nbytes(self) -> int:
        """Bytes of one row."""
        return self.count * self.itemsize

    @property
    def shape(self) -> tuple[int, ...]:
        """(count,), or (rows, count) with several rows."""
        return (self.count,) if self.rows == 1 else (self.rows, self.count)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, part: slice | tuple[EllipsisType, slice]) -> DeviceArray:
        """Some neighbouring elements of every row, `[a:b]` or `[..., a:b]`, on the same memory."""
        first, end, step = (part[1] if isinstance(part, tuple) else part).indices(self.count)
        if step != 1:
            raise UsageError(f"elements of GPU memory in steps of {step}; allowed: 1")
        address = self.address + first * self.itemsize
        return replace(self, address=address, count=max(0, end - first))

    def row(self, index: int) -> int:
        """Device pointer of a row."""
        return self.address + index * self.pitch

    def rows_with_data(self) -> range:
        """The rows' numbers; none if rows are empty, as CUDA refuses to move nothing."""
        return range(self.rows if self.count else 0)


# Rows and blocks start where every access of kernels is aligned, and a registration can begin.
ALIGNMENT = 4096

_MOST_PITCH = (1 << 31) - 1  # of a copy of rows: CU_DEVICE_ATTRIBUTE_MAX_PITCH
_SMALL_BYTES = 1 << 20  # what may be wasted of memory that is used again
_STAGING_AT_FIRST = 64 << 10  # bytes


@dataclass(frozen=True, eq=False)
class GpuBlock:
    """Bytes of GPU memory: `rows` rows of `nbytes`, one behind the other."""

    address: int
    nbytes: int
    rows: int
    symmetric: bool  # peers may reach it

    def view(self, first: int, nbytes: int, dtype: npt.DTypeLike) -> DeviceArray:
        """Bytes [first, first + nbytes) of every row, as elements."""
        kind = np.dtype(dtype)
        address, count = self.address + first, nbytes // kind.itemsize
        return DeviceArray(address, count, kind, self.rows, self.nbytes, self)


class GpuMemory(Memory[GpuBlock]):
    """The memory of one GPU that this rank takes. `rows` virtual ranks live in this process.

    Ranks of this machine use `gpus` GPUs, together.

    CUDA waits for the GPU, without a deadline, when it allocates or frees memory. So a wait that
    has one comes first. Memory of arrays that have gone is used again: one stream orders all that
    touches it.
    """

    def __init__(
        self, context: GpuContext, rows: int, heap: SymmetricHeap | None, gpus: int
    ) -> None:
        super().__init__()
        self.context, self._rows, self._heap, self._gpus = context, rows, heap, gpus
        self._spare: list[tuple[int, int]] = []  # addresses and bytes of arrays that have gone
        self._owned: dict[int, weakref.finalize[..., Any]] = {}  # arrays' own memory, by address
        self._staging = self._staging_bytes = 0  # host memory that copies pass
        self._grow_staging(_STAGING_AT_FIRST)

    def allocate(self, nbytes: int, kind: str) -> GpuBlock:
        pitch = -(-max(nbytes, 1) // ALIGNMENT) * ALIGNMENT
        symmetric = kind == "symmetric"
        on_heap = symmetric and self._rows == 1
        address = self._from_heap(pitch) if on_heap else self.allocate_bytes(pitch * self._rows)
        block = GpuBlock(address, pitch, self._rows, symmetric)
        self._blocks.append(block)
        if not on_heap:  # the heap gives zeros, and peers may already write behind its barrier
            self.clear(block)
        return block

    def clear(self, block: GpuBlock) -> None:
        self.zero(block.address, block.nbytes * block.rows)
        self.context.drain("clearing memory")

    def zero(self, address: int, nbytes: int) -> None:
        """Fill bytes with zeros, in stream order."""
        self.context.calls.cuMemsetD8Async(address, 0, nbytes, self.context.stream_handle)

    def release(self, block: GpuBlock) -> None:
        self._blocks.remove(block)
        self.context.drain("what uses a buffer")
        if block.symmetric and self._heap is not None and block.rows == 1:
            self._heap.free(block.address)
        else:
            self.free_bytes(block.address)

    def leave(self, block: GpuBlock, is_used: Callable[[], bool]) -> None:
        """Forget a block of the heap whose memory is still used: the next heap asks again."""
        self._blocks.remove(block)
        if self._heap is not None:
            self._heap.leave(block.address, is_used)

    def addresses(self, array: DeviceArray) -> tuple[int, ...]:
        return tuple(array.row(row) for row in range(array.rows))

    def available(self) -> int:
        """What this GPU has free, for each GPU that ranks of this machine use."""
        free, _ = self.context.calls.cuMemGetInfo()
        return int(free) * self._gpus

    def allocate_bytes(self, nbytes: int) -> int:
        """Plain GPU memory, not zeroed; `nbytes` > 0 (UsageError)."""
        self.context.drain("what runs before memory is allocated")
        self._free_spare()
        try:
            return int(self.context.calls.cuMemAlloc(nbytes))
        except CudaError as error:
            if error.name != "CUDA_ERROR_OUT_OF_MEMORY":
                raise
            raise UsageError(self._no_room(nbytes)) from error

    def free_bytes(self, address: int) -> None:
        """Give back what `allocate_bytes` returned; the GPU is idle."""
        self.context.calls.cuMemFree(address)

    def empty(self, count: int, dtype: npt.DTypeLike, rows: int = 1) -> DeviceArray:
        """Allocate memory that the array owns, shape (count,) or (rows, count); not zeroed."""
        kind = np.dtype(dtype)
        pitch = count * kind.itemsize
        nbytes = -(-max(rows * pitch, 1) // ALIGNMENT) * ALIGNMENT
        address, room = self._take_spare(nbytes) or (self.allocate_bytes(nbytes), nbytes)
        owner = _Owner()
        # An array may go while the stream is held: its memory goes at the next allocation.
        self._owned[address] = weakref.finalize(owner, self._retire, address, room)
        return DeviceArray(address, count, kind, rows, pitch, owner)

    def _retire(self, address: int, room: int) -> None:
        del self._owned[address]
        self._spare.append((address, room))

    def keep(self, values: npt.NDArray[Any]) -> DeviceArray:
        """Copy host values, shape (count,) or (rows, count), to memory that the array owns."""
        host = np.ascontiguousarray(values)
        rows, count = (1, host.shape[0]) if host.ndim == 1 else host.shape
        array = self.empty(count, host.dtype, rows)
        self.write(array, host)
        return array

    def write(self, array: DeviceArray, values: npt.NDArray[Any]) -> None:
        """Copy host values, of the array's shape and dtype, to an array whose rows are close."""
        host = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
        if not host.nbytes:
            return
        self._staged(host.nbytes)[:] = host
        self.context.calls.cuMemcpyHtoDAsync(
            array.address, self._staging, host.nbytes, self.context.stream_handle
        )
        self.context.drain("a copy to the GPU")

    def to_host(
        self, array: DeviceArray, what: str = "what runs before a copy to the host"
    ) -> npt.NDArray[Any]:
        nbytes, stream = array.nbytes, self.context.stream_handle
        staged = self._staged(array.rows * nbytes)
        for row in array.rows_with_data():
            target = self._staging + row * nbytes
            self.context.calls.cuMemcpyDtoHAsync(target, array.row(row), nbytes, stream)
        self.context.drain(what)
        host: npt.NDArray[Any] = staged.copy().view(array.dtype)
        return host.reshape(array.shape)

    def copy(self, target: DeviceArray, source: DeviceArray) -> None:
        """Copy all rows, in stream order; UsageError where the shapes differ."""
        if (target.rows, target.nbytes) != (source.rows, source.nbytes):
            raise UsageError(f"a copy of shape {source.shape} does not fit {target.shape}")
        if target.rows > 1 and target.count and max(target.pitch, source.pitch) <= _MOST_PITCH:
            self._copy_rows(target, source)
            return
        for row in target.rows_with_data():
            self.context.calls.cuMemcpyDtoDAsync(
                target.row(row), source.row(row), target.nbytes, self.context.stream_handle
            )

    def _copy_rows(self, target: DeviceArray, source: DeviceArray) -> None:
        """In one call."""
        cu = self.context.calls
        how = cu.CUDA_MEMCPY2D()
        how.srcMemoryType = how.dstMemoryType = cu.CUmemorytype.CU_MEMORYTYPE_DEVICE
        how.srcDevice, how.srcPitch = source.address, source.pitch
        how.dstDevice, how.dstPitch = target.address, target.pitch
        how.WidthInBytes, how.Height = target.nbytes, target.rows
        cu.cuMemcpy2DAsync(how, self.context.stream_handle)

    def close(self) -> None:
        """Give back everything, that of blocks and arrays that are still there too. Collective."""
        for block in list(self._blocks):
            self.release(block)
        self.context.drain("what runs before memory is freed")
        for retire in list(self._owned.values()):
            retire()
        self._free_spare()
        self._free_staging()

    def _elsewhere(self, address: int, count: int, dtype: np.dtype[Any]) -> DeviceArray:
        return DeviceArray(address, count, dtype)

    def _starts(self, block: GpuBlock) -> tuple[int, ...]:
        """Rows lie in one process, so each reaches the others in plain memory."""
        if block.rows > 1 or self._heap is None:
            return tuple(block.address + row * block.nbytes for row in range(block.rows))
        return self._heap.peers(block.address) or ()

    def _from_heap(self, nbytes: int) -> int:
        if self._heap is None:
            raise Unavailable(
                "symmetric buffers on cuda lie in NVSHMEM's heap, which is not open here; "
                "use --buffers private"
            )
        return self._heap.allocate(nbytes)

    def _no_room(self, nbytes: int) -> str:
        free, total = self.context.calls.cuMemGetInfo()
        return (
            f"{self.context.who}: {self.context.gpu.name} has no room for {nbytes} bytes, {free} "
            f"of {total} are free; use a smaller --max, or end what else runs on that GPU"
        )

    def _staged(self, nbytes: int) -> npt.NDArray[Any]:
        """Staging as bytes, as they are at any time. Who copies waits before the next one does."""
        if nbytes > self._staging_bytes:
            self.context.drain("what runs before host memory is allocated")
            self._grow_staging(nbytes)
        return np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(self._staging))

    def _grow_staging(self, nbytes: int) -> None:
        self._free_staging()
        calls = self.context.calls
        self._staging = int(calls.cuMemHostAlloc(nbytes, calls.CU_MEMHOSTALLOC_DEVICEMAP))
        self._staging_bytes = nbytes

    def _free_staging(self) -> None:
        if self._staging_bytes:
            self.context.calls.cuMemFreeHost(self._staging)
        self._staging_bytes = 0

    def _take_spare(self, nbytes: int) -> tuple[int, int] | None:
        """The smallest that is large enough and wastes little."""
        most = max(2 * nbytes, _SMALL_BYTES)
        fitting = [one for one in self._spare if nbytes <= one[1] <= most]
        if not fitting:
            return None
        found = min(fitting, key=lambda one: one[1])
        self._spare.remove(found)
        return found

    def _free_spare(self) -> None:
        while self._spare:
            self.free_bytes(self._spare.pop()[0])


class _Owner:
    """Lives as long as an array that owns its memory."""
