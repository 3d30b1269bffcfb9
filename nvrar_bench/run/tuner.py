"""Tuning: at each size a race of launches, and the table of those that won.

All ranks do the same, and decide by what is the same on all of them; rank 0 writes the table.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from datetime import datetime, timezone
from typing import Any, cast

import numpy as np

from nvrar_bench.backends.base import Backend, Operation, Tunable
from nvrar_bench.devices.operation import Shape
from nvrar_bench.documents.files import write_text
from nvrar_bench.documents.tuning import (
    Choice,
    Ending,
    MadeOn,
    TunedMedian,
    TuningDocument,
    encode,
)
from nvrar_bench.errors import UsageError
from nvrar_bench.plan import Case, Protocol
from nvrar_bench.run.buffers import CaseBuffers, KnownCall
from nvrar_bench.run.point import Point
from nvrar_bench.run.point_group import PointGroup, ShowRound
from nvrar_bench.run.stages import RunPart
from nvrar_bench.settings.launching import Tune
from nvrar_bench.statistics.median import Estimate
from nvrar_bench.timing.race import Race, SoFar
from nvrar_bench.toolchain.kernel import PROTOCOLS


class Tuner:
    """What the races of all sizes have in common, and the table so far."""

    def __init__(self, backend: Backend, run: RunPart, tune: Tune, made_on: MadeOn) -> None:
        """Begin an empty table; UsageError: a launch that is listed is not allowed here."""
        self.backend = cast(Tunable, backend)  # TuneOptions offers no other
        self.run, self.world, self.tune = run, backend.world, tune
        tune.space.require_within(self.backend.chooser.limits)
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self._document = TuningDocument.begin(now, self.backend.made_for, made_on)

    def kernels(self, cases: Iterable[Case]) -> list[Case]:
        """Return cases that need all kernels that `cases` may be run by."""
        every = self.tune.space.protocols or tuple(PROTOCOLS)
        return [_named(case, protocol) for case in cases for protocol in (*every, "auto")]

    def candidates(self, case: Case) -> tuple[Shape, ...]:
        """Return the launches to try, first what `auto` chooses without a table."""
        return self.tune.space.candidates(self.backend.chooser, self.world.nodes, case)

    def batch_for(self, nbytes: int) -> int:
        """How many calls a sample is, as in a sweep."""
        return self.run.settings.batch or self.backend.device.timer.batch_for(nbytes)

    def keep(self, choice: Choice) -> dict[str, Any]:
        """Add a choice, and write the table; return it as JSON."""
        self._document = self._document.with_choice(choice)
        return self._write()

    def complete(self) -> dict[str, Any]:
        """Write the whole table; return it as JSON."""
        self._document = self._document.complete()
        return self._write()

    def _write(self) -> dict[str, Any]:
        if self.world.rank == 0:
            write_text(self.tune.output, encode(self._document), "--output")
        return self._document.to_json()


class Heat:
    """One size: the launches that the device takes, as points of a group, and their race."""

    def __init__(
        self,
        tuner: Tuner,
        case: Case,
        new_group: Callable[[ShowRound], PointGroup],
        buffers: CaseBuffers,
        known: list[KnownCall],
    ) -> None:
        """Prepare all candidates, and add them to a new group. Collective.

        UsageError: the device takes none.
        """
        self._tuner, self._case = tuner, case
        self.refused: list[str] = []
        self._began = time.monotonic()
        automatic, *others = tuner.candidates(case)
        operations = self._operations([automatic, *others], buffers)
        self._shapes = list(operations)
        before = 0 if automatic in operations else None
        self._race = Race(len(operations), before, tuner.tune.max_time, self._elapsed)
        self.group = new_group(self.judge)
        for number, (shape, operation) in enumerate(operations.items()):
            named, rule = _named(case, shape.protocol), self._race.rule(number)
            batch = tuner.batch_for(case.size_bytes)
            name = tuner.backend.name
            self.group.add_point(Point(name, named, operation, buffers, known, rule, batch=batch))

    def judge(self, *_: int) -> None:
        """Drop candidates that are certainly slower, after a round. Collective."""
        if len(self.group.points) < len(self._shapes):  # one was wrong: it alone is left
            return
        self._race.judge(self._shown())
        left, of = len(self._race.open), len(self._shapes)
        self._tuner.run.progress.note(
            f"round {self._race.rounds}: {left} of {of} launches are left in the race"
        )

    def choice(self) -> Choice:
        """Say what won."""
        outcome, case = self._race.outcome(self._shown()), self._case
        shape = self._shapes[outcome.winner]
        before = outcome.before_figure
        return Choice(
            dtype=case.dtype,
            op=case.op,
            buffers=case.buffers,
            size_bytes=case.size_bytes,
            **asdict(shape),
            is_auto=outcome.winner == self._race.before,
            measured=_measured(outcome.winner_figure),
            auto=None if before is None else _measured(before),
            tried=len(self._shapes),
            level=outcome.level,
            refused=len(self.refused),
            ended_by=cast(Ending, outcome.reason),
        )

    def _operations(self, shapes: Iterable[Shape], buffers: CaseBuffers) -> dict[Shape, Operation]:
        """Return those that no rank's device refuses."""
        found = {}
        for shape in shapes:
            self._tuner.run.guard.renew()
            operation, reason = self._prepared(shape, buffers)
            reasons = self._tuner.world.comm.allgather(reason)
            problem = next(filter(None, reasons), None)
            if operation is not None and problem is None:
                found[shape] = operation
                continue
            if operation is not None:
                operation.close()
            self.refused.append(f"{self._case.size_bytes} bytes, {shape}: {problem}")
        if not found:
            raise UsageError(f"no launch can be tried at {self.refused[0]}")
        return found

    def _prepared(self, shape: Shape, buffers: CaseBuffers) -> tuple[Operation | None, str | None]:
        """Return the operation, or why the device refuses it; other ranks may not know."""
        backend = self._tuner.backend
        chosen = backend.chooser.shaped(shape, self._case)
        try:
            return backend.prepare_as(chosen, self._case, buffers.send, buffers.recv), None
        except UsageError as error:
            return None, str(error)

    def _shown(self) -> list[SoFar]:
        return [_shown(point) for point in self.group.points]

    def _elapsed(self) -> float:
        """Rank 0 looks at its clock for all."""
        return float(self._tuner.world.comm.bcast(time.monotonic() - self._began))


def _shown(point: Point) -> SoFar:
    in_time = np.ones(len(point.durations), bool)
    in_time[list(point.late)] = False
    return SoFar(point.durations / 1e9, in_time)


def _named(case: Case, protocol: str) -> Case:
    return replace(case, protocol=cast(Protocol, protocol))


def _measured(figure: Estimate) -> TunedMedian:
    low, high = figure.low, figure.high
    return TunedMedian(_micros(figure.value), low and _micros(low), high and _micros(high))


def _micros(seconds: float) -> float:
    return round(seconds * 1e6, 4)
