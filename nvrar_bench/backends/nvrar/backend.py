"""NVRAR on CPU ranks: the kernel of kernels/ with the host fabric."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from nvrar_bench.backends.base import Array, Backend, Operation
from nvrar_bench.backends.nvrar.arguments import CArguments, CLayout, describe
from nvrar_bench.backends.nvrar.layout import Layout, plan_layout
from nvrar_bench.backends.nvrar.schedule import plan_steps
from nvrar_bench.datatypes import DTYPES
from nvrar_bench.devices.abi import CFailure, pointer_table
from nvrar_bench.devices.cpu import Block, CpuDevice
from nvrar_bench.errors import TimedOut
from nvrar_bench.plan import Case
from nvrar_bench.toolchain import host
from nvrar_bench.toolchain.kernel import Kernel
from nvrar_bench.world import World

# Windows bound staging memory, whatever the message; packets take twice the bytes.
WINDOW_BYTES = {"signal": 512 << 10, "packet": 128 << 10}
CHUNK_BYTES = 64 << 10
BLOCKS = 1  # a CPU rank is one block of one thread
FLAG_SPAN = 1 << 32  # a packet's flag is the low half of the epoch


@dataclass(frozen=True, eq=False)
class _Staging:
    layout: Layout
    block: Block
    table: ctypes.Array[Any]


class NvrarBackend(Backend):
    """Shared by all operations: the epoch, and one staging memory per protocol."""

    name = "nvrar"

    def __init__(self, world: World, device: CpuDevice, timeout: float, epoch: int = 1) -> None:
        """`epoch` is the first one; only tests have a reason to choose it."""
        super().__init__(world, device, timeout)
        self.schedule = plan_steps(world.nodes)
        self._epoch = epoch
        self._staging: dict[str, _Staging] = {}
        self._libraries: dict[Kernel, ctypes.CDLL] = {}

    def foresee(self, cases: Iterable[Case]) -> None:
        """Build all kernels at once, with as many compilers as there are cores, and load them."""
        kernels = list(dict.fromkeys(map(_kernel, cases)))
        paths = self.world.on_host_leader(lambda: host.build_all(kernels))
        self._libraries.update(zip(kernels, map(host.load, paths), strict=True))

    def prepare(self, case: Case, send: Array, recv: Array) -> Operation:
        """Fill in the arguments of the kernel, which is built if it was not foreseen."""
        kernel = _kernel(case)
        if kernel not in self._libraries:
            self.foresee([case])
        library, protocol = self._libraries[kernel], kernel.protocol
        staging = self._staging.get(protocol) or self._allocate_staging(protocol)
        return _AllReduce(self, library, protocol, staging, case, send, recv)

    def _allocate_staging(self, protocol: str) -> _Staging:
        window, per_node = WINDOW_BYTES[protocol], self.world.ranks_per_node
        layout = plan_layout(self.schedule, per_node, protocol, window, CHUNK_BYTES, BLOCKS)
        block = self.device.allocate(layout.nbytes, "symmetric")
        assert block.shared is not None  # noqa: S101 - for the type checker: symmetric is shared
        staging = _Staging(layout, block, pointer_table(block.shared.addresses))
        self._staging[protocol] = staging
        return staging

    def take_epochs(self, windows: int) -> int:
        """Reserve an epoch for each window of the next call; the same on all ranks.

        No packet flag may come round again while an old cell still bears it, so before the low half
        of the epoch wraps all staging memory is cleared, behind barriers. Flag 0 is never used.
        """
        if (self._epoch - 1) % FLAG_SPAN + windows >= FLAG_SPAN:
            self._epoch = -(-self._epoch // FLAG_SPAN) * FLAG_SPAN + 1
            self._clear_staging()
        first = self._epoch
        self._epoch += windows
        return first

    def _clear_staging(self) -> None:
        self.world.comm.Barrier()
        for staging in self._staging.values():
            staging.block.bytes.fill(0)
        self.world.comm.Barrier()

    def close(self) -> None:
        """Free the staging memory."""
        for staging in self._staging.values():
            self.device.release(staging.block)
        self._staging.clear()


def _kernel(case: Case) -> Kernel:
    return Kernel(case.dtype, case.op, choose_protocol(case.protocol), "host")


def choose_protocol(asked: str) -> str:
    """`auto` is `signal` on CPU ranks: packets double the bytes and save no fence there."""
    return "signal" if asked == "auto" else asked


class _AllReduce(Operation):
    def __init__(
        self,
        backend: NvrarBackend,
        library: ctypes.CDLL,
        protocol: str,
        staging: _Staging,
        case: Case,
        send: Array,
        recv: Array,
    ) -> None:
        self.variant = protocol
        self._backend = backend
        self._buffers = send, recv  # their memory must outlive the call
        self._call = library.nvrar_all_reduce
        self._failure = CFailure()
        self._arguments = _arguments(backend, protocol, staging, case.count)
        self._arguments.failure = ctypes.pointer(self._failure)
        self._tables = _bind(self._arguments, backend, send, recv)
        self._pointer = ctypes.byref(self._arguments)
        self._windows = _windows(self._arguments, case.count * DTYPES[case.dtype].itemsize)

    def launch(self) -> None:
        self._arguments.epoch = self._backend.take_epochs(self._windows)
        self._call(self._pointer)
        if self._failure.code:
            world = self._backend.world
            raise TimedOut(
                f"NVRAR gave up after {self._backend.timeout:g} s on rank {world.rank} "
                f"({world.host}): {describe(self._failure)}"
            )


def _arguments(backend: NvrarBackend, protocol: str, staging: _Staging, count: int) -> CArguments:
    world = backend.world
    arguments = CArguments()
    arguments.count = count
    arguments.rank = world.rank
    arguments.ranks_per_node = world.ranks_per_node
    arguments.set_schedule(backend.schedule)
    arguments.window_bytes = WINDOW_BYTES[protocol]
    arguments.chunk_bytes = CHUNK_BYTES
    arguments.spin = backend.device.spin
    arguments.timeout_ns = int(backend.timeout * 1e9)
    arguments.layout = CLayout.of(staging.layout)
    arguments.rank_staging = ctypes.addressof(staging.table)
    return arguments


def _bind(arguments: CArguments, backend: NvrarBackend, send: Array, recv: Array) -> list[Any]:
    """Point at the buffers, and at those of the node's peers if both are symmetric."""
    arguments.send, arguments.recv = send.ctypes.data, recv.ctypes.data
    homes = [backend.device.symmetric_home(array) for array in (send, recv)]
    tables = [_peers(backend.world, home) for home in homes if home]
    arguments.staged = len(tables) < len(homes)
    if not arguments.staged:
        arguments.node_send, arguments.node_recv = map(ctypes.addressof, tables)
    return tables


def _peers(world: World, home: tuple[Any, int]) -> ctypes.Array[Any]:
    shared, offset = home
    first = world.node * world.ranks_per_node
    node = shared.addresses[first : first + world.ranks_per_node]
    return pointer_table([address + offset for address in node])


def _windows(arguments: CArguments, nbytes: int) -> int:
    """At most how many windows, and so epochs, the kernel takes (kernels/window.cuh)."""
    return -(-nbytes // int(arguments.window_bytes))
