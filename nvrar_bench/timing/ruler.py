"""What the measuring itself costs, which figures that makes doubtful; run/starts.py measures it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from nvrar_bench.documents.result import Result
from nvrar_bench.statistics.doubts import RULER, Doubt, DoubtKind
from nvrar_bench.units import MICROSECOND

TOLERATED_PART = 0.05

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
