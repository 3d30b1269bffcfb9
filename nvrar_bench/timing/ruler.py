"""What the measuring itself costs, which figures that makes doubtful; run/starts.py measures it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nvrar_bench.statistics.doubts import ALONE, COSTLY, MORE_THAN_ALL

TOLERATED_PART = 0.05


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
