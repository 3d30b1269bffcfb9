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
from nvrar_bench.statistics.machine_states import YARDSTICKS
from nvrar_bench.timing.clocks import Clocks, relate
from nvrar_bench.timing.loop import MONOTONIC, Gate, Nanoseconds, Timings, Yardstick
from nvrar_bench.timing.ruler import Ruler

UNKNOWN = np.zeros(len(YARDSTICKS), np.int64)
_CALLS = 101  # odd: a median is one of the samples
_BATCHES, _BATCH = 101, 32  # readings of the clock, one behind the other
_READINGS, _STEPS_WITHIN_S = 1000, 0.5


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
