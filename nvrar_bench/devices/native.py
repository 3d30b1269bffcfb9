"""Times C functions on CPU ranks: gate, clock, calls, clock, and no Python between them.

Python would be in the sample with more than its instructions: where messages fill the caches, the
interpreter has to be fetched anew for every call.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache, cached_property

from nvrar_bench.devices.base import Timer
from nvrar_bench.devices.caches import CacheFlush
from nvrar_bench.devices.gate import SharedGate, load_library
from nvrar_bench.devices.operation import NativeCall, Operation
from nvrar_bench.timing.loop import Gate, Timings, per_call, time_calls
from nvrar_bench.toolchain.structs import CCall
from nvrar_bench.world import World


class CpuTimer(Timer):
    """Of one rank: native calls where the operation has one, else launches from Python.

    With `flush`, caches are cold at the start of each sample.
    """

    def __init__(self, world: World, flush: CacheFlush | None) -> None:
        self._world, self._flush = world, flush

    @cached_property
    def _library(self) -> ctypes.CDLL:
        """Collective over the machine at the first native call; the start gate has built it."""
        return load_library(self._world)

    @property
    def nothing(self) -> NativeCall | None:
        """A function that does nothing; None where ranks are virtual, which Python times."""
        if self._world.virtual_ranks:
            return None
        return NativeCall(address_of(self._library.nvrar_do_nothing))

    def time_calls(
        self, operation: Operation, prepare: Callable[[], None], gate: Gate, timings: Timings,
        batch: int = 1,
    ) -> None:  # fmt: skip
        """Time them by the operation's clock."""
        ready = prepare if self._flush is None else self._flush.after(prepare)
        if operation.native and not self._world.virtual_ranks:
            self._time_native(operation.native, operation, ready, gate, timings, batch)
        else:
            time_calls(operation.launch, ready, gate, operation.clock, timings, batch)

    def _time_native(
        self, native: NativeCall, operation: Operation, prepare: Callable[[], None], gate: Gate,
        timings: Timings, batch: int,
    ) -> None:  # fmt: skip
        """As timing.loop.time_calls, of `native`, which is the operation's."""
        durations, starts, agreed = timings.durations, timings.starts, timings.agreed
        call = CCall(native.in_c(), batch)
        time_call = self._through(gate, ctypes.byref(call))
        for i in range(len(timings)):
            prepare()
            operation.begin_native(batch)
            time_call()
            durations[i] = per_call(call.ended_ns - call.started_ns, batch)
            starts[i], agreed[i] = call.started_ns, gate.agreed_ns
            operation.end_native(ctypes.c_int(call.result).value)

    def _through(self, gate: Gate, call: object) -> Callable[[], None]:
        time_call = self._library.nvrar_time_call
        if isinstance(gate, SharedGate):
            return lambda: gate.time_call(call)

        def pass_and_time() -> None:
            gate()
            time_call(None, call)

        return pass_and_time


@cache
def mpi_library() -> ctypes.CDLL:
    """The MPI library that mpi4py is linked with: a handle finds what it depends on, too."""
    from mpi4py import MPI

    return ctypes.CDLL(MPI.__file__)


def address_of(function: object) -> int:
    """Where a function of a ctypes library begins."""
    return ctypes.cast(function, ctypes.c_void_p).value or 0  # type: ignore[arg-type]
