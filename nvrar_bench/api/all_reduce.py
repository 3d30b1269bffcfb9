"""All-reduce from Python, by any backend: `nvrar_bench.open`."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from nvrar_bench import datatypes
from nvrar_bench.backends import require_known
from nvrar_bench.backends.base import Array, Backend, Operation
from nvrar_bench.backends.nvrar.tuning import Tuning, table_for
from nvrar_bench.backends.registry import open_backends
from nvrar_bench.devices import require_cpu
from nvrar_bench.devices.cpu import CpuDevice, HostBlock
from nvrar_bench.errors import UsageError
from nvrar_bench.plan import Case, Protocol
from nvrar_bench.world import World, join

if TYPE_CHECKING:
    from mpi4py import MPI

# A prepared operation holds its arrays; more of them than this are unlikely to come back.
_MOST_PREPARED = 64
_NAMES = {row.numpy: name for name, row in datatypes.DTYPES.items()}


class AllReduce:
    """One backend for the ranks of a communicator; a context manager.

    Every method is collective: all ranks call it, in the same order, with the same arguments but
    for the contents of arrays.
    """

    def __init__(self, backend: Backend, device: CpuDevice, protocol: Protocol) -> None:
        self._backend, self._device, self._protocol = backend, device, protocol
        self._blocks: list[HostBlock] = []
        self._operations: dict[tuple[Any, ...], Operation] = {}

    def empty(self, count: int, dtype: str) -> Array:
        """Return an array in symmetric memory, shape (count,); it lives until `close`.

        Raises:
            UsageError: a dtype that does not exist, or a negative count.
        """
        row = datatypes.dtype(dtype)
        if count < 0:
            raise UsageError(f"count {count}: allowed: 0 and more")
        block = self._device.memory.allocate(max(count * row.itemsize, 1), "symmetric")
        self._blocks.append(block)
        return block.bytes[: count * row.itemsize].view(row.numpy)

    def all_reduce(self, send: Array, recv: Array, op: str = "sum") -> None:
        """Store in recv: op over all ranks of send, elementwise, bitwise the same on all ranks.

        Both have shape (count,) and one dtype; `recv` may be `send`. Arrays from `empty` are read
        and written by peers directly, if both are; others are copied. Both are free when this
        returns.

        Raises:
            UsageError: arrays that do not fit together, or an op or dtype that the backend lacks.
            TimedOut: a peer did not answer in time.
        """
        case = self._case(send, recv, datatypes.op(op).name)
        if case.count == 0:
            return
        key = (send.ctypes.data, recv.ctypes.data, case)
        if key not in self._operations:
            reason = self._backend.unsupported(case)
            if reason:
                raise UsageError(f"{self._backend.name}: {reason}")
            if len(self._operations) == _MOST_PREPARED:
                self._operations.pop(next(iter(self._operations))).close()
            self._operations[key] = self._backend.prepare(case, send, recv)
        self._operations[key].launch()

    def _case(self, send: Array, recv: Array, op: str) -> Case:
        for name, array in (("send", send), ("recv", recv)):
            if array.ndim != 1 or not array.flags.c_contiguous or array.dtype not in _NAMES:
                raise UsageError(
                    f"{name} is {array.dtype} of shape {array.shape}; allowed: one dimension, "
                    f"contiguous, of dtype {', '.join(_NAMES.values())}"
                )
        if send.dtype != recv.dtype or send.shape != recv.shape:
            raise UsageError(
                f"send is {send.dtype} {send.shape}, recv is {recv.dtype} {recv.shape}; "
                "allowed: the same of both"
            )
        if not recv.flags.writeable:
            raise UsageError("recv is read-only; the result is written there")
        in_place = send.ctypes.data == recv.ctypes.data
        if not in_place and np.may_share_memory(send, recv):
            raise UsageError("send and recv overlap; they must be the same array or apart")
        both = all(self._device.memory.peers(array) for array in (send, recv))
        return Case(
            size_bytes=send.nbytes, count=send.size, dtype=_NAMES[send.dtype], op=op,
            placement="in_place" if in_place else "out_of_place",
            buffers="symmetric" if both else "private",
            protocol=self._protocol, check_mode="exact",
        )  # fmt: skip

    def close(self) -> None:
        """Free everything; arrays from `empty` must not be used afterwards."""
        for operation in self._operations.values():
            operation.close()
        self._operations.clear()
        self._backend.close()
        for block in self._blocks:
            self._device.memory.release(block)
        self._blocks.clear()

    def __enter__(self) -> AllReduce:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open(  # noqa: A001 - nvrar_bench.open reads as it should
    name: str,
    comm: MPI.Comm | World,
    device: str = "cpu",
    nodes: int | None = None,
    protocol: Protocol = "auto",
    timeout: float = 60.0,
    tuning: str | Path | None = None,
) -> AllReduce:
    """Open backend `name` (`nvrar`, `mpi`, `fake`) for the ranks of `comm`; collective.

    Args:
        name: a backend.
        comm: its ranks take part; or a World of ranks that met otherwise.
        device: `cpu`.
        nodes: virtual nodes to split the ranks of one machine into; None for the real ones.
        protocol: NVRAR's: `auto`, `signal` or `packet`.
        timeout: seconds that a call waits for a peer.
        tuning: a table of `nvrar-bench tune`, which `auto` follows; None for the one that
            $NVRAR_BENCH_TUNING names, if it does. Python's warnings say what makes it doubtful.

    Raises:
        UsageError: a name, protocol, number of nodes or timeout that is not allowed, or a table
            that is none, or was made for something else.
        Unavailable: the backend or device is not there.
    """
    require_known([name])
    require_cpu(device)
    if protocol not in ("auto", "signal", "packet"):
        raise UsageError(f"protocol {protocol}: allowed: auto, signal, packet")
    if nodes is not None and nodes < 1:
        raise UsageError(f"nodes {nodes}: allowed: 1 and more")
    if tuning is not None and name != "nvrar":
        raise UsageError(f"tuning {tuning}: {name} has no launches to tune; allowed: with nvrar")
    if not 0 < timeout < math.inf:
        raise UsageError(f"timeout {timeout}: allowed: a number of seconds above 0")
    table = table_for(tuning, "tuning") if name == "nvrar" else None
    world = comm if isinstance(comm, World) else join(comm)
    world = world.with_nodes(nodes) if nodes else world
    cpu = CpuDevice(world, timeout)
    (backend,), _ = open_backends([name], world, cpu, timeout, Tuning(table=table))
    for text in backend.doubts:
        warnings.warn(text, stacklevel=2)
    return AllReduce(backend, cpu, protocol)


__all__ = ["AllReduce", "open"]
