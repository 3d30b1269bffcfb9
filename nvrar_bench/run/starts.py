"""How the ranks of a run begin a call: the gate, the clocks behind it, and who was late."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from nvrar_bench.devices.base import Device, Timer
from nvrar_bench.devices.gate import late_tolerance_ns
from nvrar_bench.devices.operation import NativeCall, Operation
from nvrar_bench.settings.values import Late
from nvrar_bench.statistics.doubts import ALONE, COSTLY, MORE_THAN_ALL
from nvrar_bench.statistics.machine_states import YARDSTICKS
from nvrar_bench.timing.clocks import Clocks, relate
from nvrar_bench.timing.loop import MONOTONIC, Gate, Nanoseconds, Timings, Yardstick

UNKNOWN = np.zeros(len(YARDSTICKS), np.int64)
_CALLS = 101  # odd: a median is one of the samples
_BATCHES, _BATCH = 101, 32  # readings of the clock, one behind the other
_READINGS, _STEPS_WITHIN_S = 1000, 0.5
TOLERATED_PART = 0.05  # of a figure may be what measuring costs, unmentioned


class LateGate(Gate):
    """Leaves so much later than `gate`; the time that all agreed on stays the others'."""

    def __init__(self, gate: Gate, nanoseconds: int, clock: Callable[[], int]) -> None:
        self._gate, self._nanoseconds, self._clock = gate, nanoseconds, clock
        self.mode, self.leaving_ns = gate.mode, gate.leaving_ns

    def __call__(self) -> None:
        """Leave `gate`, and spin."""
        self._gate()
        end = self._clock() + self._nanoseconds
        while self._clock() < end:
            pass

    @property
    def agreed_ns(self) -> int:
        return self._gate.agreed_ns

    def facts(self) -> dict[str, Any]:
        return self._gate.facts()


@dataclass(frozen=True, eq=False)
class Start:
    """The gate of a run, the related clocks of its ranks, what measuring costs, the yardstick."""

    gate: Gate
    clocks: Clocks | None = None  # None: one process
    ruler: Ruler | None = None
    yardstick: Yardstick | None = None
    late_ns: int = 0  # how late this rank begins on purpose

    @classmethod
    def open(cls, device: Device, mode: str, late: Late | None = None) -> Start:
        """Relate the clocks, open the gate, and measure what both cost. Collective."""
        world = device.world
        clocks = relate(world.comm, world.machine_of[: world.comm.size])
        gate = device.start_gate(mode, clocks)
        ruler, yardstick = measure_ruler(device.timer, gate), device.yardstick(gate)
        if late is None or late.rank != world.rank:
            return cls(gate, clocks, ruler, yardstick)
        late_ns = late.nanoseconds
        return cls(LateGate(gate, late_ns, clocks.clock), clocks, ruler, yardstick, late_ns)

    def renew(self) -> None:
        """Follow the drift of clocks. Collective."""
        if self.clocks is not None:
            self.clocks.renew()

    def late(self, timings: Timings, batch: int = 1) -> Nanoseconds:
        """1 where this rank began a sample late, shape (n,); never where no start was agreed.

        `batch`: calls of a sample, among which the delay is divided.
        """
        if self.clocks is None or not timings.agreed.any():
            return np.zeros(len(timings), np.int64)
        figure = float(np.median(timings.durations)) * batch
        tolerance = late_tolerance_ns(self.clocks, self.gate, figure)
        return (timings.lateness() - self.late_ns > tolerance).astype(np.int64)

    def arrived(self, timings: Timings) -> Nanoseconds:
        """What `delays` needs the maximum over ranks of: minus the common time of each start."""
        if self.clocks is None or not timings.starts.any():
            return np.zeros(len(timings), np.int64)
        return -self.clocks.to_common(timings.starts)

    def delays(self, timings: Timings, most: Nanoseconds) -> Nanoseconds:
        """How long after the agreed time this rank began, or, without one, after the first rank.

        `most` is the maximum over ranks of what `arrived` gave.
        """
        if timings.agreed.any():
            return timings.lateness()
        return most - self.arrived(timings)

    def state(self, passes: int) -> Nanoseconds:
        """Read the yardstick, shape (3,); 0 is unknown. Collective."""
        return UNKNOWN if self.yardstick is None else self.yardstick.read(passes)

    def facts(self) -> dict[str, Any]:
        """For the environment of the record. Collective."""
        return {
            "start": self.gate.facts(),
            "clocks": None if self.clocks is None else self.clocks.facts(),
            "ruler": None if self.ruler is None else self.ruler.facts(),
        }


# ---- what measuring costs ------------------------------------------------------------------------


class _Nothing(Operation):
    variant = "nothing"

    def __init__(self, native: NativeCall | None, clock: Callable[[], int]) -> None:
        self.native, self.clock = native, clock

    def launch(self) -> None:
        pass


@dataclass(frozen=True)
class Ruler:
    """All in nanoseconds, of a sample; a call of a batch has its share."""

    resolution_ns: float  # the smallest step that the monotonic clock was seen to make
    timer_cost_ns: float  # one reading of it, the median
    call_cost_ns: float  # an empty operation, timed as all are, through the gate; the median
    # The same of the device's own timer, for calls that are queued on it; None on CPU ranks, or
    # where its resolution was not seen.
    event_resolution_ns: float | None = None
    event_cost_ns: float | None = None

    def facts(self) -> dict[str, Any]:
        """For the environment of the record."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def doubts(
        self, median_seconds: float, *, batch: int = 1, by_events: bool = False
    ) -> tuple[str, ...]:
        """Doubt a figure of which resolution or cost is more than 5 %.

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
            return (ALONE(n=f"{cost / 1e3:.3g}"),)
        return tuple(_costly(what, ns, median_seconds) for what, ns in found)


def _costly(what: str, ns: float, seconds: float) -> str:
    part = f"{100 * ns / seconds / 1e9:.0f} %" if seconds > 0 else MORE_THAN_ALL
    return COSTLY(what=what, us=f"{ns / 1e3:.3g}", n=part, median=f"{seconds * 1e6:.3g}")


def measure_ruler(
    timer: Timer, gate: Gate, clock: Callable[[], int] = MONOTONIC, calls: int = _CALLS
) -> Ruler:
    """Measure all of it, `calls` passes of the gate for each kind of call. Collective."""
    timings = Timings.empty(calls)
    timer.time_calls(_Nothing(timer.nothing, clock), lambda: None, gate, timings)
    call_cost = statistics.median(timings.durations.tolist())
    return Ruler(
        resolution_of(clock), _cost_of(clock), call_cost, *(timer.event_ruler_ns or (None, None))
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
