"""One case on all backends: verify, warm up, measure in turns, verify again.

Every turn of timed calls is checked as well, as it was left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mpi4py import MPI

from nvrar_bench.backends.base import Backend, Operation
from nvrar_bench.measure.loop import Gate, Nanoseconds, Timings, shares
from nvrar_bench.plan import Case
from nvrar_bench.session.buffers import CaseBuffers
from nvrar_bench.session.known import KnownCall
from nvrar_bench.verify import CheckResult
from nvrar_bench.world import World

# Turns of every backend: long enough to settle in the caches again, short enough that the machine's
# drift meets all backends alike.
TURNS = 10

# Which set of known inputs each verifying call gets. Memory is reused after two calls, so a call's
# leftovers are those of two calls before: with this order they always belong to the other set.
VERIFY_ORDER = (1, 1, 0, 0)


@dataclass
class Measured:
    """What came of one backend: `samples` holds the maximum over ranks, on every rank."""

    backend: str
    operation: Operation
    timings: Timings  # of this rank
    samples: Nanoseconds = field(init=False)
    checks: list[CheckResult] = field(default_factory=list)
    canary_broken: bool = False


class CaseRun:
    """The collective work of one case; every rank does the same."""

    def __init__(
        self,
        world: World,
        case: Case,
        buffers: CaseBuffers,
        known: list[KnownCall],
        gate: Gate,
        alive: Callable[[], None],
    ) -> None:
        self._world, self._case, self._buffers, self._known = world, case, buffers, known
        self._device = buffers.device
        self._gate, self._alive = gate, alive
        self.measured: list[Measured] = []

    def run(self, backends: Sequence[Backend], iters: int, warmup: int) -> list[Measured]:
        """Do all of it on `backends`; iters >= 1."""
        self._prepare(backends, iters)
        try:
            self._verify()
            self._warm_up(warmup)
            self._measure()
            self._verify_again()
        finally:
            for one in self.measured:
                one.operation.close()
        return self.measured

    def _prepare(self, backends: Sequence[Backend], iters: int) -> None:
        for backend in backends:
            self._alive()
            operation = backend.prepare(self._case, self._buffers.send, self._buffers.recv)
            self.measured.append(Measured(backend.name, operation, Timings.empty(iters)))

    def _verify(self) -> None:
        """The inputs of set 0 are in place afterwards."""
        for one in self.measured:
            for number in VERIFY_ORDER:
                self._checked_call(one, self._known[number])

    def _verify_again(self) -> None:
        for one in self.measured:
            self._checked_call(one, self._known[0])

    def _warm_up(self, calls: int) -> None:
        for one in self.measured:
            for _ in range(calls):
                self._untimed_call(one)

    def _measure(self) -> None:
        """Take all samples, the backends in turns; then the maximum over ranks of each."""
        done = 0
        for share in shares(len(self.measured[0].timings), TURNS):
            for one in self.measured:
                self._buffers.spoil()  # what stands in the output is the others'
                self._untimed_call(one)  # and so is what is in the caches
                self._timed_calls(one, one.timings.part(done, share))
            done += share
        for one in self.measured:
            one.samples = one.timings.durations.copy()
            self._world.comm.Allreduce(MPI.IN_PLACE, one.samples, MPI.MAX)

    def _timed_calls(self, one: Measured, timings: Timings) -> None:
        self._device.time_calls(one.operation, self._renew, self._gate, timings)
        self._compare(one, self._known[0])

    def _renew(self) -> None:
        """In place, the call before has consumed its input."""
        self._alive()
        if self._buffers.recv is self._buffers.send:
            self._buffers.restore(self._known[0].inputs)

    def _untimed_call(self, one: Measured) -> None:
        self._renew()
        self._launch(one)

    def _launch(self, one: Measured) -> None:
        self._gate()
        one.operation.launch()
        self._device.finish(one.operation)

    def _checked_call(self, one: Measured, known: KnownCall) -> None:
        self._alive()
        self._buffers.restore(known.inputs)
        self._buffers.spoil()
        self._launch(one)
        self._compare(one, known)

    def _compare(self, one: Measured, known: KnownCall) -> None:
        results = known.check(self._buffers.recv)
        if not results:
            return
        one.checks.extend(results)
        one.canary_broken = one.canary_broken or not self._buffers.canaries_intact()
