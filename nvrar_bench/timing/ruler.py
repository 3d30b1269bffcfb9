"""What the measuring itself costs: the resolution of the clock, its price, and that of a call."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

from nvrar_bench.timing.loop import MONOTONIC, Gate, Timings

TOLERATED_PART = 0.05
# How its doubts begin: where records are merged, those of the first launch stand for all.
DOUBT = "ruler: "
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


@dataclass(frozen=True)
class Ruler:
    """All in nanoseconds.

    Attributes:
        resolution_ns: the smallest step that the monotonic clock was seen to make.
        timer_cost_ns: one reading of it, the median.
        call_cost_ns: what a sample is when nothing is done: median duration of an operation that is
            empty, timed as all are, through the gate.
        event_resolution_ns, event_cost_ns: the same of the device's own timer, for calls that are
            queued on it; None on CPU ranks, or where its resolution was not seen.

    All are of a sample; a call of a batch has its share.
    """

    resolution_ns: float
    timer_cost_ns: float
    call_cost_ns: float
    event_resolution_ns: float | None = None
    event_cost_ns: float | None = None

    def facts(self) -> dict[str, Any]:
        """For the environment of the record."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def doubts(
        self, median_seconds: float, *, batch: int = 1, by_events: bool = False
    ) -> tuple[str, ...]:
        """Warn of a figure of which resolution or cost is more than 5 %.

        `batch`: calls of a sample. `by_events`: it was measured by the device's timer
        (Operation.stream_ordered). Figures of an operation with a clock of its own are not of this
        ruler.
        """
        resolution = self.event_resolution_ns if by_events else self.resolution_ns
        cost = self.event_cost_ns if by_events else self.call_cost_ns
        parts = (
            ("the resolution of the clock", resolution),
            ("what is measured when nothing is called", cost),
        )
        found = [
            (what, ns / batch)
            for what, ns in parts
            if ns is not None and ns / batch > TOLERATED_PART * median_seconds * 1e9
        ]
        if by_events and batch == 1 and cost is not None and found:
            return (_alone(cost),)
        return tuple(
            f"{DOUBT}{what}, {ns / 1e3:.3g} us, is {_percent(ns, median_seconds)} of the median of "
            f"{median_seconds * 1e6:.3g} us: measure longer messages, or take more calls a sample "
            "(--batch)"
            for what, ns in found
        )


def _alone(cost_ns: float) -> str:
    """What it costs to time each call alone: the same at all points, and so said once."""
    return (
        f"{DOUBT}each call was timed alone, and {cost_ns / 1e3:.3g} us of every figure are the two "
        "events around it: --batch K shares them among K calls"
    )


def _percent(ns: float, seconds: float) -> str:
    return f"{ns / seconds / 1e7:.0f} %" if seconds > 0 else "more than all"


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
