"""Several operations that run, and are timed, as one: a decode step."""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Iterable

from nvrar_bench.devices.operation import NativeCall, Operation
from nvrar_bench.timing.loop import MONOTONIC
from nvrar_bench.toolchain.structs import CNativeCall, CSequence


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
        """Launch all."""
        for part in self.parts:
            part.launch()

    def confirm(self) -> None:
        """Ask each of them once."""
        for part in self.times:
            part.confirm()

    def close(self) -> None:
        """Free what they hold."""
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
        function = ctypes.cast(self._run, ctypes.c_void_p).value or 0
        address = ctypes.addressof(self._sequence)
        self.native = NativeCall(function, (address,), address + CSequence.failed.offset)

    def launch(self) -> None:
        """Make the one call."""
        self.begin_native(1)
        self.end_native(self._run(ctypes.byref(self._sequence)))

    def begin_native(self, batch: int) -> None:
        """Do what precedes the calls of each part."""
        for part, times in self.times.items():
            part.begin_native(batch * times)

    def end_native(self, result: int) -> None:
        """`result` is of the part that failed, if one has, which says so itself."""
        if self._sequence.failed:
            self.parts[self._sequence.failed - 1].end_native(result)
        for part in self.times:
            part.end_native(0)
