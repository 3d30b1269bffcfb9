"""What the measuring itself costs: the resolution of the clock, its price, and that of a call."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, Protocol

from nvrar_bench.documents.result import Result
from nvrar_bench.statistics.doubts import RULER, Doubt, DoubtKind
from nvrar_bench.timing.loop import MONOTONIC, Gate, Timings
from nvrar_bench.units import MICROSECOND

TOLERATED_PART = 0.05
_CALLS = 101
_BATCHES, _BATCH = 101, 32
_READINGS, _STEPS_WITHIN_S = 1000, 0.5

# What timing each call alone costs is the same at all points, and so said once.
ALONE = DoubtKind(
    f"{RULER}each call was timed alone, and {{n}} us of every figure are the two events around it: "
    "--batch K shares them among K calls",
    "two events around each call are {n} us of each time; share them with --batch",
)
PART = DoubtKind(
    f"{RULER}{{what}}, {{us}} us, is {{n}} of the median of {{median}} us: measure longer "
    "messages, or take more calls a sample (--batch)",
    "timing is up to {n} of these times; take more calls a sample (--batch)",
)
KINDS = (ALONE, PART)


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
    ) -> tuple[Doubt, ...]:
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
            return (Doubt(ALONE, cost, {"n": f"{cost / 1e3:.3g}"}),)
        return tuple(_part(what, ns, median_seconds) for what, ns in found)


def _part(what: str, ns: float, seconds: float) -> Doubt:
    part = ns / seconds / 1e9 if seconds > 0 else float("inf")
    said = "more than all" if seconds <= 0 else f"{100 * part:.0f} %"
    us, median = f"{ns / 1e3:.3g}", f"{seconds * 1e6:.3g}"
    return Doubt(PART, part, {"what": what, "us": us, "n": said, "median": median})


def doubts_of(result: Result, facts: object) -> tuple[Doubt, ...]:
    """Return the ruler's doubts about a stored result anew; `facts` are its record's of the ruler.

    None where the result was not warned of it: its operation may have had a clock of its own. Which
    timer was used is not in the record: it is the one whose doubts begin as a stored warning does,
    and the device's, where it has one, if none does.
    """
    stored = {_beginning(text) for text in result.warnings if text.startswith(RULER)}
    ruler = _read(facts)
    if not stored or ruler is None:
        return ()
    median = result.latency_us.median * MICROSECOND
    timers = [True, False] if ruler.event_cost_ns is not None else [False]
    found = [ruler.doubts(median, batch=result.batch, by_events=timer) for timer in timers]
    alike = (each for each in found if any(_beginning(one.text) in stored for one in each))
    return next(alike, found[0])


def _beginning(text: str) -> str:
    """What does not depend on the median."""
    return text.partition(", is ")[0]


def _read(facts: object) -> Ruler | None:
    """Return the ruler of somebody else's record; None where it has none, or no numbers."""
    if not isinstance(facts, Mapping):
        return None
    known = {field.name: facts.get(field.name) for field in fields(Ruler)}
    numbers = {name: value for name, value in known.items() if isinstance(value, int | float)}
    try:
        return Ruler(**numbers)
    except TypeError:
        return None


class _Timer(Protocol):
    """What is asked of the timer of a device; see devices/base.py."""

    @property
    def event_ruler_ns(self) -> tuple[float, float] | None: ...

    @property
    def nothing(self) -> object | None: ...

    def time_calls(
        self, operation: Any, prepare: Callable[[], None], gate: Gate, timings: Timings
    ) -> None: ...


def measure_ruler(
    timer: _Timer, gate: Gate, clock: Callable[[], int] = MONOTONIC, calls: int = _CALLS
) -> Ruler:
    """Measure all of it, `calls` passes of the gate for each kind of call. Collective."""
    events = timer.event_ruler_ns or (None, None)
    return Ruler(
        resolution_ns=resolution_of(clock),
        timer_cost_ns=_cost_of(clock),
        call_cost_ns=_cost_of_a_call(timer, gate, clock, calls),
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


def _cost_of_a_call(timer: _Timer, gate: Gate, clock: Callable[[], int], calls: int) -> float:
    timings = Timings.empty(calls)
    timer.time_calls(_Empty(timer.nothing, clock), _nothing, gate, timings)
    return float(statistics.median(timings.durations.tolist()))
