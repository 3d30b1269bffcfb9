"""One backend for the ranks of a communicator: arrays in symmetric memory, and calls on arrays."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import numpy as np

from nvrar_bench import datatypes
from nvrar_bench.api.host import HostCalls
from nvrar_bench.api.operand import Operand, read
from nvrar_bench.backends.base import Array, Backend, Operation
from nvrar_bench.devices.cpu import CpuDevice, HostBlock
from nvrar_bench.errors import UsageError
from nvrar_bench.plan import Case, Protocol

_BYTE = np.dtype(np.uint8)
# Calls that are kept ready: more than the all-reduces of a step of the largest models.
MOST_PREPARED = 1024


class AllReduce:
    """One backend for the ranks of a communicator; a context manager.

    Every method is collective: all ranks call it, in the same order, with the same arguments but
    for the contents of arrays.
    """

    def __init__(self, backend: Backend, device: CpuDevice, protocol: Protocol) -> None:
        self._backend, self._device, self._protocol = backend, device, protocol
        self._calls = HostCalls(device)
        self._is_open = True
        self._blocks: list[HostBlock] = []
        # What `empty` returned, its dtype then, and what it is. None other may get its id.
        self._own: dict[int, tuple[Array, Any, Operand]] = {}
        self._prepared: dict[tuple[Operand, Operand, str], Operation] = {}

    def empty(self, shape: int | Sequence[int], dtype: str) -> Array:
        """Return an array in symmetric memory, which peers reach directly; zeros at first.

        Its memory is given back at `close` and not before: make arrays once, and use them again.
        An array that is used after `close` is still valid memory.

        Args:
            shape: number of elements, or of every dimension.
            dtype: the suite's name, such as `bfloat16`.

        Returns:
            a NumPy array; it speaks DLPack for every dtype.

        Raises:
            UsageError: a dtype that does not exist, a negative number, or a closed backend.
        """
        self._require_open()
        row = datatypes.dtype(dtype)
        extents = _shape(shape)
        operand = Operand(0, extents, row.name)
        block = self._device.memory.allocate(max(operand.nbytes, 1), "symmetric")
        self._blocks.append(block)
        array = self._calls.array(block, operand)
        (address,) = self._device.memory.addresses(block.view(0, 1, _BYTE))
        self._own[id(array)] = array, array.dtype, operand._replace(address=address)
        self._forget(address, address + max(operand.nbytes, 1))
        return array

    def all_reduce(
        self, send: Array, recv: Array | None = None, op: str = "sum", stream: Any = None
    ) -> None:
        """Store in recv: op over all ranks of send, elementwise, bitwise the same on all ranks.

        Both have one shape, any, and one dtype, and are contiguous. Arrays from `empty` are read
        and written by peers directly, if both are; others are copied. Both are free when this
        returns.

        Args:
            send: what speaks DLPack: an array of NumPy, a CPU tensor of PyTorch.
            recv: likewise; None or `send` itself: in place.
            op: `sum`, `prod`, `min`, `max` or `avg`.
            stream: None.

        Raises:
            UsageError: arrays that do not fit together, an op or dtype that the backend lacks, or
                a closed backend.
            TimedOut: a peer did not answer in time; recv is undefined, and no call can follow.
        """
        source = self._operand("send", send)
        target = source if recv is None or recv is send else self._operand("recv", recv)
        on = self._calls.stream(stream)
        operation = self._prepared.get((source, target, op))
        if operation is None:
            operation = self._prepare(source, target, op)
        if operation is not None:
            self._calls.launch(operation, on)

    def _operand(self, name: str, array: Array) -> Operand:
        own = self._own.get(id(array))
        if own is not None and own[1] is array.dtype:
            return own[2]
        return array if type(array) is Operand else read(name, array, self._calls.home)

    def _prepare(self, source: Operand, target: Operand, op: str) -> Operation | None:
        """Make a call ready, for as long as it is kept; None where there is nothing to reduce."""
        self._require_open()
        _require_fit(source, target)
        combine = datatypes.op(op).name
        if not source.elements:
            return None
        # Of addresses alone: arrays of the caller are not kept alive, and whichever array comes to
        # lie there is the one to reduce.
        memory, kind = self._device.memory, datatypes.DTYPES[source.dtype].numpy
        arrays = [memory.at(one.address, source.elements, kind) for one in (source, target)]
        is_symmetric = all(memory.peers(array) is not None for array in arrays)
        case = self._case(source, target, combine, is_symmetric)
        reason = self._backend.unsupported(case)
        if reason:
            raise UsageError(f"{self._backend.name}: {reason}")
        if len(self._prepared) == MOST_PREPARED:
            self._prepared.pop(next(iter(self._prepared))).close()
        operation = self._backend.prepare(case, *arrays)
        self._prepared[source, target, op] = operation
        return operation

    def _case(self, source: Operand, target: Operand, op: str, is_symmetric: bool) -> Case:
        return Case(
            size_bytes=source.nbytes, count=source.elements, dtype=source.dtype, op=op,
            placement="in_place" if source.address == target.address else "out_of_place",
            buffers="symmetric" if is_symmetric else "private",
            protocol=self._protocol, check_mode="rounding",
        )  # fmt: skip

    def _forget(self, first: int, end: int) -> None:
        """Drop calls on private memory that once lay where symmetric memory lies now."""
        for key in list(self._prepared):
            if any(one.address < end and first < one.address + one.nbytes for one in key[:2]):
                self._prepared.pop(key).close()

    def _require_open(self) -> None:
        if not self._is_open:
            raise UsageError(f"{self._backend.name} is closed; open it again")

    def close(self) -> None:
        """Free everything but the memory of arrays that are still in use; a second call is none."""
        if not self._is_open:
            return
        self._is_open = False
        for operation in self._prepared.values():
            operation.close()
        self._prepared.clear()
        self._own.clear()
        self._backend.close()
        for block in self._blocks:
            self._device.memory.release(block)
        self._blocks.clear()
        self._device.close()

    def __enter__(self) -> AllReduce:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _shape(shape: int | Sequence[int]) -> tuple[int, ...]:
    try:
        extents = tuple(map(operator.index, shape if isinstance(shape, Sequence) else (shape,)))
    except TypeError:
        extents = (-1,)
    if any(extent < 0 for extent in extents):
        raise UsageError(f"shape {shape}: allowed: a number of elements, or of every dimension")
    return extents


def _require_fit(source: Operand, target: Operand) -> None:
    """Refuse two operands that make no call.

    Raises:
        UsageError: saying why.
    """
    if source[1:3] != target[1:3]:
        raise UsageError(
            f"send is {source.dtype} {source.shape}, recv is {target.dtype} {target.shape}; "
            "allowed: the same of both"
        )
    if target.read_only:
        raise UsageError("recv is read-only; the result is written there")
    is_apart = abs(source.address - target.address) >= source.nbytes
    if source.address != target.address and not is_apart:
        raise UsageError("send and recv overlap; they must be the same array or apart")
    itemsize = datatypes.DTYPES[source.dtype].itemsize
    for name, one in (("send", source), ("recv", target)):
        if one.address % itemsize:
            raise UsageError(
                f"{name} starts at {one.address:#x}; allowed: multiples of {itemsize}, the size of "
                f"{one.dtype}"
            )
