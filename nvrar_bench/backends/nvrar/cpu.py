"""NVRAR's kernel on CPU ranks: one process each, or all of them as threads of one."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from nvrar_bench.backends.nvrar.engine import Engine, Launch
from nvrar_bench.backends.nvrar.layout import PARITIES
from nvrar_bench.backends.nvrar.limits import Limits
from nvrar_bench.devices.cpu import CpuDevice
from nvrar_bench.devices.native import mpi_library
from nvrar_bench.devices.operation import NativeCall, Shape, address_of
from nvrar_bench.devices.sharing import load_all
from nvrar_bench.toolchain.kernel import Kernel
from nvrar_bench.toolchain.structs import U64, CArguments, CTransport, CVirtualRanks
from nvrar_bench.world import World

# Windows bound staging memory, whatever the message; packets take twice the bytes.
_WINDOW_BYTES = {"signal": 512 << 10, "packet": 128 << 10}
_HOSTS_WINDOW_BYTES = {"signal": 4 << 20, "packet": 1 << 20}
# Open MPI sends up to 64K over TCP, with its header, at once; for more the two ends first agree.
_MESSAGE_BYTES = 63 << 10
_MESSAGES_AHEAD = 16
_ANY_SLICE = {"signal": 1 << 62, "packet": 1 << 62}
_EMULATED_SLICE = {"signal": 8 << 10, "packet": 4 << 10}
# One block of one thread, however long its slice is; chunks of 1K to 64K.
_ONE_THREAD = Limits(1, 1, 1, 1 << 10, 64 << 10, _WINDOW_BYTES, slice_per_block=_ANY_SLICE)


class _CpuEngine(Engine):
    device: CpuDevice

    def __init__(self, world: World, device: CpuDevice) -> None:
        super().__init__(world, device)
        self.spin = device.spin

    def _load(self, kernels: Sequence[Kernel]) -> list[ctypes.CDLL]:
        return load_all(self.world, kernels, self.device.timeout)


class HostEngine(_CpuEngine):
    """The fabric `host`: a rank is one block of one thread."""

    fabric = "host"
    limits = _ONE_THREAD

    def bind(self, kernel: Kernel, seats: Sequence[CArguments], shape: Shape) -> Launch:  # noqa: ARG002
        return partial(self._kernel(kernel).nvrar_all_reduce, ctypes.byref(seats[0]))

    def native(self, kernel: Kernel, seats: Sequence[CArguments]) -> NativeCall:
        entry = address_of(self._kernel(kernel).nvrar_all_reduce)
        return NativeCall(entry, (ctypes.addressof(seats[0]),), seats[0].failure)


class EmulatedEngine(_CpuEngine):
    """The fabric `loopback` on the CPU: every thread of a launch is a thread of this process.

    It shows that a launch of many ranks, blocks and threads is right; its times mean nothing.
    """

    fabric = "loopback"
    warnings = ("virtual ranks are threads of one process: results count, times mean nothing",)
    limits = replace(
        _ONE_THREAD, max_blocks=8, max_threads=32, threads=2, slice_per_block=_EMULATED_SLICE
    )

    def bind(self, kernel: Kernel, seats: Sequence[CArguments], shape: Shape) -> Launch:
        function, ranks = self._kernel(kernel).nvrar_launch, CVirtualRanks.of(seats)
        return partial(function, ctypes.byref(ranks), len(seats), shape.blocks, shape.threads)


_FUNCTIONS = ("Isend", "Irecv", "Test", "Iprobe")


class HostsEngine(HostEngine):
    """The fabric `hosts`: a rank is one block of one thread."""

    fabric = "hosts"
    all_mapped = False
    limits = replace(
        _ONE_THREAD, max_chunk_bytes=256 << 10, message_bytes=_MESSAGE_BYTES,
        window_bytes=_HOSTS_WINDOW_BYTES,
    )  # fmt: skip

    def __init__(self, world: World, device: CpuDevice) -> None:
        """Take a communicator of its own for the messages. Collective."""
        from mpi4py import MPI

        super().__init__(world, device)
        self._comm = world.comm.Dup()
        self._comm.Set_errhandler(MPI.ERRORS_RETURN)
        library = mpi_library()
        functions = (address_of(getattr(library, f"MPI_{name}")) for name in _FUNCTIONS)
        handles = (MPI._handleof(self._comm), MPI._handleof(MPI.BYTE))
        wildcards = (MPI.ANY_SOURCE % 2**64, MPI.ANY_TAG % 2**64)
        self._transport = CTransport(*functions, *handles, *wildcards, _MESSAGES_AHEAD)
        self._requests: list[ctypes.Array[ctypes.c_uint64]] = []

    def bind(self, kernel: Kernel, seats: Sequence[CArguments], shape: Shape) -> Launch:
        """Bind the one rank's arguments, and make room for the requests of a window."""
        self._reach(seats[0])
        return super().bind(kernel, seats, shape)

    def _reach(self, arguments: CArguments) -> None:
        """No call is under way when one is bound: all requests are complete, and may move."""
        wanted = PARITIES * arguments.arrivals * arguments.layout.chunks_per_region
        if not self._requests or len(self._requests[0]) < wanted:
            self._requests = [(U64 * wanted)(), (U64 * wanted)()]
            self._transport.expected, self._transport.sent = map(ctypes.addressof, self._requests)
        arguments.transport = ctypes.addressof(self._transport)

    def close(self) -> None:
        self._comm.Free()
