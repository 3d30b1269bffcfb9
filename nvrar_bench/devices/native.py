"""Times C functions on CPU ranks: gate, clock, calls, clock, and no Python between them.

Python would be in the sample with more than its instructions: where messages fill the caches, the
interpreter has to be fetched anew for every call.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache

from mpi4py import MPI

from nvrar_bench.devices.gate import SharedGate, load_library
from nvrar_bench.devices.operation import NativeCall, Operation
from nvrar_bench.timing.loop import Gate, Timings, per_call
from nvrar_bench.toolchain.structs import CCall
from nvrar_bench.world import World


class CallTimer:
    """Of one rank; the constructor is collective over the machine.

    Attributes:
        nothing: a function that does nothing.
    """

    def __init__(self, world: World) -> None:
        library = load_library(world)
        self._time = library.nvrar_time_call
        self.nothing = NativeCall(address_of(library.nvrar_do_nothing))

    def time_calls(
        self, native: NativeCall, operation: Operation, prepare: Callable[[], None], gate: Gate,
        timings: Timings, batch: int,
    ) -> None:  # fmt: skip
        """As measure.loop.time_calls, of `native`, which is the operation's."""
        durations, starts, agreed = timings.durations, timings.starts, timings.agreed
        call = CCall(native.function, native.arguments, batch, native.failure)
        time_call = self._through(gate, ctypes.byref(call))
        for i in range(len(timings)):
            prepare()
            operation.begin_native(batch)
            time_call()
            durations[i] = per_call(call.ended_ns - call.started_ns, batch)
            starts[i], agreed[i] = call.started_ns, gate.agreed_ns
            operation.end_native(ctypes.c_int(call.result).value)

    def _through(self, gate: Gate, call: object) -> Callable[[], None]:
        if isinstance(gate, SharedGate):
            return lambda: gate.time_call(call)

        def time_call() -> None:
            gate()
            self._time(None, call)

        return time_call


@cache
def mpi_library() -> ctypes.CDLL:
    """The MPI library that mpi4py is linked with: a handle finds what it depends on, too."""
    return ctypes.CDLL(MPI.__file__)


def address_of(function: object) -> int:
    """Where a function of a ctypes library begins."""
    return ctypes.cast(function, ctypes.c_void_p).value or 0  # type: ignore[arg-type]
