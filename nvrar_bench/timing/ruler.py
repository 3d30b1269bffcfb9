"""What the measuring itself costs: the resolution of the clock, its price, and that of a call."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Protocol

from nvrar_bench.statistics.ruler import Ruler
from nvrar_bench.timing.loop import MONOTONIC, Gate, Timings

_CALLS = 101
_BATCHES, _BATCH = 101, 32
_READINGS, _STEPS_WITHIN_S = 1000, 0.5


class _Device(Protocol):
    """What is asked of a device; see devices/base.py."""

    @property
    def event_ruler_ns(self) -> tuple[float, float] | None: ...

    @property
    def nothing(self) -> object | None: ...

    def time_calls(
        self, operation: Any, prepare: Callable[[], None], gate: Gate, timings: Timings
    ) -> None: ...


def measure_ruler(
    device: _Device, gate: Gate, clock: Callable[[], int] = MONOTONIC, calls: int = _CALLS
) -> Ruler:
    """Measure all of it, `calls` passes of the gate for each kind of call. Collective."""
    events = device.event_ruler_ns or (None, None)
    return Ruler(
        resolution_ns=resolution_of(clock),
        timer_cost_ns=_cost_of(clock),
        call_cost_ns=_cost_of_a_call(device, gate, clock, calls),
        event_resolution_ns=events[0],
        event_cost_ns=events[1],
    )


def resolution_of(clock: Callable[[], int]) -> float:
    """The smallest difference above 0 of two readings; half a second if none is seen in that."""
    end = time.monotonic() + _STEPS_WITHIN_S
    while time.monotonic() < end:
        readings = [clock() for _ in range(_READINGS)]
        steps = [after - before for before, after in pairwise(readings) if after > before]
        if steps:
            return float(min(steps))
    return _STEPS_WITHIN_S * 1e9


def _cost_of(clock: Callable[[], int]) -> float:
    """The median over batches: a single reading may cost less than the clock resolves."""

    def batch() -> float:
        start = clock()
        for _ in range(_BATCH):
            clock()
        return (clock() - start) / (_BATCH + 1)

    return statistics.median(batch() for _ in range(_BATCHES))


def _nothing() -> None:
    """An empty call."""


class _Empty:
    """An operation (devices/operation.py) that does nothing."""

    variant, warnings, stream_ordered = "nothing", (), False

    def __init__(self, native: object, clock: Callable[[], int]) -> None:
        self.native, self.clock = native, clock

    def launch(self) -> None:
        """There is nothing to do."""

    def begin_native(self, batch: int) -> None:
        """Nothing comes before."""

    def end_native(self, result: int) -> None:
        """Nothing comes of it."""

    def confirm(self) -> None:
        """Nothing can go wrong."""

    def close(self) -> None:
        """There is nothing to free."""


def _cost_of_a_call(device: _Device, gate: Gate, clock: Callable[[], int], calls: int) -> float:
    timings = Timings.empty(calls)
    device.time_calls(_Empty(device.nothing, clock), _nothing, gate, timings)
    return float(statistics.median(timings.durations.tolist()))
