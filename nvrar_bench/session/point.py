"""One backend at one case: what it has measured so far."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from nvrar_bench.backends.base import Operation
from nvrar_bench.measure.loop import Nanoseconds
from nvrar_bench.measure.rules import StoppingRule, Taken
from nvrar_bench.plan import Case
from nvrar_bench.session.buffers import CaseBuffers
from nvrar_bench.session.known import KnownCall
from nvrar_bench.verify import CheckResult


@dataclass(frozen=True, eq=False)
class Turn:
    """Calls timed in one go, shape (n,); but for `own_delays` the same on all ranks.

    `durations` is the maximum over ranks, in ns; `late` is 1 where some rank began late;
    `own_delays` is how late this one began, in ns. `yardstick_ns` is how long a flag took to the
    last rank before the calls, 0 if unknown.
    """

    durations: Nanoseconds
    late: npt.NDArray[np.int64]
    own_delays: Nanoseconds
    yardstick_ns: float = 0.0


@dataclass(eq=False)
class Point:
    """A backend's operation at a case, its rule, its turns and its checks on this rank."""

    backend: str
    case: Case
    operation: Operation
    buffers: CaseBuffers
    known: list[KnownCall]
    rule: StoppingRule
    turns: list[Turn] = field(default_factory=list)
    checks: list[CheckResult] = field(default_factory=list)
    canary_broken: bool = False
    seconds: float = 0.0
    stop_reason: str = "unfinished"

    @property
    def durations(self) -> Nanoseconds:
        """All samples, in the order in which they were taken."""
        return _joined([turn.durations for turn in list(self.turns)])

    @property
    def late(self) -> tuple[int, ...]:
        """Which samples some rank began late."""
        return tuple(np.flatnonzero(_joined([turn.late for turn in list(self.turns)])).tolist())

    @property
    def own_delays(self) -> Nanoseconds:
        """How late this rank began each sample."""
        return _joined([turn.own_delays for turn in self.turns])

    @property
    def yardstick_us(self) -> float | None:
        """How long a flag took to the last rank: the median over turns."""
        known = [turn.yardstick_ns for turn in list(self.turns) if turn.yardstick_ns > 0]
        return round(float(np.median(known)) / 1e3, 4) if known else None

    def next_turn(self) -> int:
        """Return how many calls to time next; 0 once the rule has ended it."""
        samples = np.delete(self.durations, list(self.late)) / 1e9
        taken = Taken(samples, sum(len(turn.durations) for turn in self.turns), self.seconds)
        calls = self.rule.next_turn(taken)
        if not calls:
            self.stop_reason = self.rule.reason()
        return calls

    def wrong(self) -> int:
        """Count what was wrong on this rank: elements, and memory around the output."""
        return sum(check.wrong for check in self.checks) + self.canary_broken


def _joined(parts: list[Nanoseconds]) -> Nanoseconds:
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)
