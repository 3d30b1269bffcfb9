"""NVRAR's kernel on CPU ranks of several machines: shared memory in each, MPI between them."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

from mpi4py import MPI

from nvrar_bench.backends.nvrar.arguments import CArguments
from nvrar_bench.backends.nvrar.cpu import HostEngine
from nvrar_bench.backends.nvrar.layout import PARITIES
from nvrar_bench.backends.nvrar.tuning import Launch, Limits
from nvrar_bench.devices.abi import POINTER, U64
from nvrar_bench.devices.cpu import CpuDevice
from nvrar_bench.devices.native import address_of, mpi_library
from nvrar_bench.toolchain.kernel import Kernel

_FUNCTIONS = ("Isend", "Irecv", "Test", "Iprobe")


class CTransport(ctypes.Structure):
    """struct Transport of kernels/fabric/hosts.cuh."""

    _fields_ = [
        *((name.lower(), U64) for name in _FUNCTIONS),
        ("communicator", U64),
        ("byte_type", U64),
        ("any_source", U64),
        ("any_tag", U64),
        ("expected", POINTER),
        ("sent", POINTER),
        ("sent_count", U64),
    ]


class HostsEngine(HostEngine):
    """The fabric `hosts`: a rank is one block of one thread."""

    fabric = "hosts"
    all_mapped = False
    limits = Limits(
        max_blocks=1, max_threads=1, threads=1, min_chunk_bytes=1 << 10,
        max_chunk_bytes=256 << 10, window_bytes={"signal": 4 << 20, "packet": 1 << 20},
        slice_per_block={"signal": 1 << 62, "packet": 1 << 62},
    )  # fmt: skip

    def __init__(self, device: CpuDevice) -> None:
        """Take a communicator of its own for the messages. Collective."""
        super().__init__(device)
        self._comm = device.world.comm.Dup()
        self._comm.Set_errhandler(MPI.ERRORS_RETURN)
        library = mpi_library()
        functions = (address_of(getattr(library, f"MPI_{name}")) for name in _FUNCTIONS)
        handles = (MPI._handleof(self._comm), MPI._handleof(MPI.BYTE))
        wildcards = (MPI.ANY_SOURCE % 2**64, MPI.ANY_TAG % 2**64)
        self._transport = CTransport(*functions, *handles, *wildcards)
        self._requests: list[ctypes.Array[ctypes.c_uint64]] = []

    def bind(
        self, kernel: Kernel, seats: Sequence[CArguments], launch: Launch
    ) -> Callable[[], Any]:
        """Bind the one rank's arguments, and make room for the requests of a window."""
        self._reach(seats[0])
        return super().bind(kernel, seats, launch)

    def _reach(self, arguments: CArguments) -> None:
        """No call is under way when one is bound: all requests are complete, and may move."""
        wanted = PARITIES * (arguments.slots + 2) * arguments.layout.chunks_per_region
        if not self._requests or len(self._requests[0]) < wanted:
            self._requests = [(U64 * wanted)(), (U64 * wanted)()]
            self._transport.expected, self._transport.sent = map(ctypes.addressof, self._requests)
        arguments.transport = ctypes.addressof(self._transport)

    def close(self) -> None:
        """Free the communicator. Collective."""
        self._comm.Free()
