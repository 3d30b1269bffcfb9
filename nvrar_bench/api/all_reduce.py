"""One backend for the ranks of a communicator: arrays in symmetric memory, and calls on arrays."""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Sequence
from typing import Any

from nvrar_bench import datatypes
from nvrar_bench.api.caller import Caller
from nvrar_bench.api.operand import Operand
from nvrar_bench.backends.base import Array, Backend, Operation
from nvrar_bench.bounded import bounded
from nvrar_bench.devices.base import Memory
from nvrar_bench.errors import UsageError
from nvrar_bench.plan import Buffers, Case, Placement, Protocol

# Calls on private memory that are kept ready: more than a step of the largest models has.
MOST_PREPARED = 1024

_Key = tuple[Operand, Operand, str]  # send, recv, op


class AllReduce:
    """One backend for the ranks of a communicator; a context manager.

    Every method is collective: all ranks call it, in the same order, with the same arguments but
    for the contents of arrays.
    """

    def __init__(self, backend: Backend, caller: Caller, memory: Memory[Any], protocol: Protocol):
        self._backend, self._caller, self._memory = backend, caller, memory
        self._protocol: Protocol = protocol
        self._is_open = True
        self._prepared: dict[_Key, Operation] = {}
        self._private: deque[_Key] = deque()  # of these on private memory, the oldest first
        self._agreed: set[str] = set()  # what all ranks have called alike before

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
        operand = Operand(0, _shape(shape), datatypes.dtype(dtype).name)
        array, address = self._caller.empty(operand)
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
        caller = self._caller
        source = caller.operand("send", send)
        target = source if recv is None or recv is send else caller.operand("recv", recv)
        on = caller.stream(stream)
        operation = self._prepared.get((source, target, op))
        if operation is None:
            operation = self._prepare(source, target, op, on)
        if operation is not None:
            caller.launch(operation, on)

    def synchronize(self, stream: Any = None) -> None:
        """Wait until the calls on `stream` have run; on CPU ranks they have.

        Where a call on a GPU gave up waiting for a peer, this is where it is heard of.

        Args:
            stream: as of `all_reduce`.

        Raises:
            TimedOut: a peer did not answer one of them in time; its recv is undefined.
        """
        self._require_open()
        on = self._caller.stream(stream)
        self._caller.synchronize(next(iter(self._prepared.values()), None), on)

    def _prepare(self, source: Operand, target: Operand, op: str, stream: int) -> Operation | None:
        """Make a call ready, for as long as it is kept; None where there is nothing to reduce."""
        self._require_open()
        _require_fit(source, target)
        combine = datatypes.op(op).name
        if not source.elements:
            return None
        # Of addresses alone: arrays of the caller are not kept alive, and whichever array comes to
        # lie there is the one to reduce.
        kind = datatypes.DTYPES[source.dtype].numpy
        arrays = [self._memory.at(one.address, source.elements, kind) for one in (source, target)]
        is_symmetric = all(self._memory.peers(array) is not None for array in arrays)
        case, key = self._case(source, target, combine, is_symmetric), (source, target, op)
        reason = self._backend.unsupported(case)
        if reason:
            raise UsageError(f"{self._backend.name}: {reason}")
        return self._caller.prepare(lambda: self._prepared_as(key, case, arrays), stream)

    def _prepared_as(self, key: _Key, case: Case, arrays: list[Array]) -> Operation:
        self._agree(f"{case.op} of {case.count} x {case.dtype} in {case.buffers} memory")
        operation = self._backend.prepare(case, *arrays)
        self._prepared[key] = operation
        # Those on symmetric memory stay: a graph that was captured uses their tables of peers.
        if case.buffers == "private":
            self._private.append(key)
            if len(self._private) > MOST_PREPARED:
                self._drop(self._private[0])
        return operation

    def _agree(self, words: str) -> None:
        """Compare what ranks are about to do for the first time, while it is not too late.

        UsageError: on all ranks, naming two that differ. TimedOut: not all ranks came.
        """
        if words in self._agreed:
            return
        world, phase = self._backend.world, "the first all_reduce of a kind, which all ranks make"
        everyone = bounded(phase, self._backend.timeout, lambda: world.comm.allgather(words))
        for rank, other in enumerate(everyone):
            if other != everyone[0]:
                raise UsageError(
                    f"rank 0 calls all_reduce for {everyone[0]}, rank {rank} for {other}; allowed: "
                    "the same calls in the same order on all ranks"
                )
        self._agreed.add(words)

    def _drop(self, key: _Key) -> None:
        self._private.remove(key)
        self._prepared.pop(key).close()

    def _case(self, source: Operand, target: Operand, op: str, is_symmetric: bool) -> Case:
        buffers: Buffers = "symmetric" if is_symmetric else "private"
        is_in_place = source.address == target.address
        placement: Placement = "in_place" if is_in_place else "out_of_place"
        nbytes, count, dtype = source.nbytes, source.elements, source.dtype
        return Case(nbytes, count, dtype, op, placement, buffers, self._protocol, "rounding")

    def _forget(self, first: int, end: int) -> None:
        """Drop calls on private memory that once lay where symmetric memory lies now."""
        for key in list(self._private):
            if any(one.address < end and first < one.address + one.nbytes for one in key[:2]):
                self._drop(key)

    def _require_open(self) -> None:
        if not self._is_open:
            raise UsageError(f"{self._backend.name} is closed; open it again")

    def close(self) -> None:
        """Free everything but the memory of arrays that are still in use; a second call is none."""
        self._close(is_orderly=True)

    def _close(self, is_orderly: bool) -> None:
        if self._is_open:
            self._is_open = False
            self._caller.close(self._release, is_orderly)

    def _release(self) -> None:
        for operation in self._prepared.values():
            operation.close()
        self._prepared.clear()
        self._private.clear()
        self._backend.close()

    def __enter__(self) -> AllReduce:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._close(is_orderly=kind is None)


def _shape(shape: int | Sequence[int]) -> tuple[int, ...]:
    try:
        extents = tuple(map(operator.index, shape if isinstance(shape, Sequence) else (shape,)))
    except TypeError:
        extents = (-1,)
    if any(extent < 0 for extent in extents):
        raise UsageError(f"shape {shape}: allowed: a number of elements, or of every dimension")
    return extents


def _require_fit(source: Operand, target: Operand) -> None:
    """Refuse two operands that make no call (UsageError)."""
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
