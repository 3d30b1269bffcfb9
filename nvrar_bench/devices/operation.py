"""What a device runs and times: an all-reduce, however it is done, or what stands between two.

Several that run, and are timed, as one are an operation too: a decode step.
"""

from __future__ import annotations

import ctypes
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from nvrar_bench.timing.loop import MONOTONIC
from nvrar_bench.toolchain.structs import CNativeCall, CSequence
from nvrar_bench.units import format_size


@dataclass(frozen=True)
class NativeCall:
    """A C function, which returns an int or nothing."""

    function: int  # its address
    arguments: tuple[int, ...] = ()  # six at most
    # Where a word lies that is not 0 once a call has failed; 0: such a call returns not 0.
    failure: int = 0

    def in_c(self) -> CNativeCall:
        """Return its twin."""
        return CNativeCall(self.function, self.arguments, self.failure)


def address_of(function: object) -> int:
    """Where a function of a ctypes library begins."""
    return ctypes.cast(function, ctypes.c_void_p).value or 0  # type: ignore[arg-type]


@dataclass(frozen=True)
class Shape:
    """How a call of NVRAR is launched on each rank."""

    protocol: str
    blocks: int
    threads: int
    chunk_bytes: int  # of a slice that a block handles at a time
    radix: int  # how many nodes exchange directly in one step
    exchange: str = "doubling"  # all of a slice; `halving`: parts; `one-shot`: the message

    def __str__(self) -> str:
        return (
            f"{self.protocol}, {self.blocks} x {self.threads} threads, chunks of "
            f"{format_size(self.chunk_bytes)}, radix {self.radix}"
            + ("" if self.exchange == "doubling" else f", {self.exchange}")
        )


class Operation(ABC):
    """One all-reduce, prepared: which buffers, count, dtype, op; or other work."""

    variant: str  # how it is done, in one word for tables
    shape: Shape | None = None  # how it is launched, where that can be chosen
    tuned_at: int | None = None  # the size, in bytes, at which a tuning table has it
    warnings: tuple[str, ...] = ()  # what a reader of its figures must know
    stream_ordered: bool = False  # a launch is queued on the device's stream
    confirm_waits: bool = False  # `confirm` waits until it has run
    # Timed in place of a launch, between `begin_native` and `end_native`, without any Python.
    native: NativeCall | None = None
    clock: Callable[[], int] = MONOTONIC  # nanoseconds; some backends have one of their own

    @abstractmethod
    def launch(self) -> None:
        """Run it once, or queue it: once it is done, recv holds the result and both are free.

        TimedOut: a peer did not answer in time; recv is undefined.
        """

    def begin_native(self, batch: int) -> None:  # noqa: B027 - most have nothing to do
        """Do what precedes `batch` native calls; `launch` does it too, for one.

        TimedOut: an earlier call failed, and none can follow.
        """

    def end_native(self, result: int) -> None:  # noqa: B027 - likewise
        """Look at the int that the C function returned last, and at what it left; as `launch`."""

    def confirm(self) -> None:  # noqa: B027 - most calls fail while they run
        """Look, after calls that were queued have run (`confirm_waits`), whether all succeeded.

        TimedOut: a peer did not answer one of them in time; recv is undefined.
        """

    def close(self) -> None:  # noqa: B027 - most operations hold nothing
        """Free what `prepare` took. Collective where `prepare` was."""


class WorkPart(Operation):
    """What a rank does between all-reduces; of no variant that a table shows."""

    variant = "work"


class SequenceOperation(Operation):
    """All parts in order, launched one by one; one may be there several times. It owns them.

    Where parts have clocks of their own, only these count.
    """

    def __init__(self, parts: Iterable[Operation]) -> None:
        self.parts = tuple(parts)
        self.times = Counter(self.parts)
        variants = (part.variant for part in self.times if not isinstance(part, WorkPart))
        self.variant = "+".join(dict.fromkeys(variants)) or WorkPart.variant
        self.warnings = tuple(dict.fromkeys(text for part in self.times for text in part.warnings))
        self.confirm_waits = any(part.confirm_waits for part in self.times)
        clocks = [part.clock for part in self.times if part.clock is not MONOTONIC]
        if clocks:
            self.clock = lambda: sum(clock() for clock in clocks)

    def launch(self) -> None:
        for part in self.parts:
            part.launch()

    def confirm(self) -> None:
        for part in self.times:
            part.confirm()

    def close(self) -> None:
        for part in self.times:
            part.close()


class NativeSequence(SequenceOperation):
    """One C call makes the calls of all parts, and ends with the first that fails."""

    def __init__(self, parts: Iterable[Operation], library: ctypes.CDLL) -> None:
        """`library` is that of the start gate; every part has a native call."""
        super().__init__(parts)
        calls = [part.native.in_c() for part in self.parts if part.native]
        self._calls = (CNativeCall * len(calls))(*calls)
        self._sequence = CSequence(self._calls, len(calls))
        self._run = library.nvrar_run_sequence
        address = ctypes.addressof(self._sequence)
        self.native = NativeCall(
            address_of(self._run), (address,), address + CSequence.failed.offset
        )

    def launch(self) -> None:
        self.begin_native(1)
        self.end_native(self._run(ctypes.byref(self._sequence)))

    def begin_native(self, batch: int) -> None:
        for part, times in self.times.items():
            part.begin_native(batch * times)

    def end_native(self, result: int) -> None:
        """`result` is of the part that failed, if one has, which says so itself."""
        if self._sequence.failed:
            self.parts[self._sequence.failed - 1].end_native(result)
        for part in self.times:
            part.end_native(0)
