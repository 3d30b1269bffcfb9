"""One backend at one case: what it has measured so far."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from nvrar_bench.backends.base import Operation
from nvrar_bench.plan import Case
from nvrar_bench.run.buffers import CaseBuffers, KnownCall
from nvrar_bench.statistics.machine_states import YARDSTICKS, Stretches, common_state
from nvrar_bench.timing.loop import Nanoseconds
from nvrar_bench.timing.stopping import StoppingRule, Taken
from nvrar_bench.verify import CheckResult, Findings


@dataclass(frozen=True, eq=False)
class Turn:
    """Samples taken in one go, shape (n,); but for `own_delays` the same on all ranks."""

    durations: Nanoseconds  # the maximum over ranks
    late: npt.NDArray[np.int64]  # 1 where some rank began late
    own_delays: Nanoseconds  # how late this rank began
    stretches: Nanoseconds  # samples between readings of the yardstick, shape (m,)
    states: Nanoseconds  # these readings, shape (m, 3); 0 is unknown


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
    batch: int = 1  # calls of a sample, which follow each other
    one_state: bool = False  # figures are of samples that found the machine in one state

    @property
    def all_reduce(self) -> Operation:
        """What is measured, or a part of it: the call whose results are checked."""
        return self.operation

    def restore(self, number: int = 0) -> None:
        """Put the inputs of a set where the call will read them."""
        self.buffers.restore(self.known[number].inputs)

    def renew(self) -> None:
        """Do between two calls what a program does; see CaseBuffers."""
        self.buffers.renew(self.known[0].inputs)

    def spoil(self) -> None:
        """Poison the output, and renew the canaries around it."""
        self.buffers.spoil()

    def compare(self, number: int = 0) -> None:
        """Check what a call on the inputs of a set has left."""
        self.keep(self.known[number].check(self.buffers.recv, self.buffers.around))

    def keep(self, found: Findings) -> None:
        """Add a check."""
        self.checks.extend(found.results)
        self.canary_broken = self.canary_broken or not found.intact

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
    def stretches(self) -> Stretches:
        """All stretches, and the readings of the yardstick beside them."""
        turns = list(self.turns)
        counts = _joined([turn.stretches for turn in turns])
        none = np.zeros((0, len(YARDSTICKS)), np.int64)
        states = np.concatenate([none, *(turn.states for turn in turns)])
        return Stretches(counts, np.where(states > 0, states / 1e3, np.nan))

    @property
    def checks_what_is_timed(self) -> bool:
        """In place, the calls of a batch work on what those before have left: a result of none."""
        return self.batch == 1 or self.buffers.recv is not self.buffers.send

    def next_turn(self) -> int:
        """Return how many samples to take next; 0 once the rule has ended it."""
        samples = self._counting() / 1e9
        taken = Taken(samples, sum(len(turn.durations) for turn in self.turns), self.seconds)
        calls = self.rule.next_turn(taken)
        if not calls:
            self.stop_reason = self.rule.reason
        return calls

    def _counting(self) -> Nanoseconds:
        """Return the samples that the median is of."""
        durations, stretches = self.durations, self.stretches
        counts = np.ones(len(durations), bool)
        if self.one_state:
            ((chosen,),) = common_state([stretches]).chosen
            counts = stretches.of_samples(chosen)
        counts[list(self.late)] = False
        return durations[counts]

    def wrong(self) -> int:
        """Count what was wrong on this rank: elements, and memory around the output."""
        return sum(check.wrong for check in self.checks) + self.canary_broken


def _joined(parts: list[Nanoseconds]) -> Nanoseconds:
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)
