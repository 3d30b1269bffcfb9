"""The stages of a run, carried out: sweeps in groups, searches for launches, soaks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from msgspec.structs import replace

from nvrar_bench.backends.base import Backend
from nvrar_bench.backends.registry import open_backends
from nvrar_bench.devices.base import Device
from nvrar_bench.documents.result import Check, Result
from nvrar_bench.errors import WrongResult
from nvrar_bench.guard import Watch
from nvrar_bench.plan import Case
from nvrar_bench.run import facts
from nvrar_bench.run.buffers import KnownInputs, SweepBuffers
from nvrar_bench.run.outcome import (
    Arrivals,
    arrivals_of,
    combined_check,
    provisional_check,
    require_right,
    result_of,
)
from nvrar_bench.run.point import Point
from nvrar_bench.run.point_group import PointGroup, ShowRound, TurnOrder
from nvrar_bench.run.soak import Soak
from nvrar_bench.run.stages import (
    MOST_TOGETHER,
    RunPart,
    Stage,
    describe,
    describe_group,
    refusal,
)
from nvrar_bench.run.starts import Start
from nvrar_bench.run.tuner import Heat, Tuner
from nvrar_bench.settings.launching import Tune
from nvrar_bench.settings.soak import SoakLimit
from nvrar_bench.timing.loop import MONOTONIC

_Point = TypeVar("_Point", bound=Point)


@dataclass(frozen=True, eq=False)
class StageRunner(RunPart):
    """Runs stages on an open device; every rank does the same."""

    device: Device
    start: Start
    wrong: list[WrongResult] = field(default_factory=list)

    def run(self, stage: Stage, dtypes: Collection[str]) -> None:
        """Run a stage; `dtypes` are those of all stages, whose kernels are built at once.

        The first wrong case is raised if `stop_at_wrong`; else it is kept in `wrong`.
        """
        if self.settings.soak:
            self._soak(stage, self.settings.soak)
        elif self.settings.tune:
            self._tune(stage, self.settings.tune)
        else:
            self._sweep(stage, dtypes)

    def _sweep(self, stage: Stage, dtypes: Collection[str]) -> None:
        backends = self._ready(stage, dtypes)
        known, buffers = self._known(stage), dict[str, SweepBuffers]()
        together = MOST_TOGETHER if self.settings.interleave else 1
        for number, cases in enumerate(stage.groups(together)):
            self._allocate(stage, cases, buffers)
            self.progress.begin(describe_group(cases, stage), len(cases))
            group = self._group(stage, self._hear_of_round)
            with self.watch("relating the clocks"):
                self.start.renew()
            for case in cases:
                self._prepare(group, stage, case, backends, buffers[case.buffers], known)
            self._run_group(group, stage, number)
        for backend in backends:
            backend.close()
        for pair in buffers.values():
            pair.release()

    def _ready(self, stage: Stage, dtypes: Collection[str]) -> list[Backend]:
        """Open the backends, and build what the plan takes."""
        with self.watch("opening the backends"):
            backends = self._open(stage)
        plan, settings = stage.sweep.plan, self.settings
        self._build(
            [(one, [c for c in plan if refusal(settings, one, c) is None]) for one in backends],
            dtypes,
        )
        return backends

    def _tune(self, stage: Stage, tune: Tune) -> None:
        """At each size a race of launches; the table is written after each."""
        with self.watch("opening the backends"):
            (backend,) = self._open(stage)
            made_on = facts.made_on(stage.world, self.device)
            tuner = Tuner(backend, self, tune, made_on)
        plan = stage.sweep.plan
        self._build([(backend, tuner.kernels(plan))], dict.fromkeys(case.dtype for case in plan))
        known, buffers = self._known(stage), dict[str, SweepBuffers]()
        for number, case in enumerate(stage.sweep.plan):
            self._allocate(stage, [case], buffers)
            self.progress.begin(describe(case, stage))
            with self.watch_work("computing the expected results"):
                calls = known.of(case)
            with self.watch("relating the clocks"):
                self.start.renew()
            with self.watch(f"preparing the case {describe(case, stage)}"):
                place = buffers[case.buffers].of(case)
                heat = Heat(tuner, case, partial(self._group, stage), place, calls)
            order = TurnOrder(self.settings.seed, self.launch, number)
            heat.group.run(stage.warmup, order, stop_at_wrong=True)
            self._conclude(heat.group, stage)
            for reason in heat.refused:
                self.journal.skip(backend.name, reason)
            self.journal.learn({"tuning": tuner.keep(heat.choice())})
        self.journal.learn({"tuning": tuner.complete()})
        backend.close()
        for pair in buffers.values():
            pair.release()

    def _soak(self, stage: Stage, limit: SoakLimit) -> None:
        with self.watch("opening the backends"):
            backends = self._open(stage)
        with self.watch_work("a soak"):
            soak = Soak(self.device, backends, self.settings.seed, self.guard.renew, self._build)
            soak.run(limit, self._hear_of_soak)
        for backend in backends:
            backend.close()
        soak.release()

    def _hear_of_soak(self, done: dict[str, Any]) -> None:
        self.journal.learn({"soak": done})
        self.progress.note(f"soak: {done['calls']} calls in {done['seconds']:.0f} s, all right")

    def _open(self, stage: Stage) -> list[Backend]:
        names = self.settings.backends or stage.sweep.backends
        backends, absent = open_backends(
            names, stage.world, self.device, self.settings.timeout, self.settings.tuning
        )
        for name, reason in absent:
            self.journal.skip(name, reason)
        for backend in backends:
            self.journal.learn(backend.facts())
        return backends

    def _build(
        self, needs: Sequence[tuple[Backend, Sequence[Case]]], dtypes: Collection[str]
    ) -> None:
        """Compile what the device and `needs` take, all of it side by side, and load it."""
        self.progress.note("building kernels")
        kernels = [kernel for backend, cases in needs for kernel in backend.kernels(cases)]
        with self.watch_work("building the kernels"):
            self.device.build_ahead(dtypes, kernels, self._hear_of_build)
            for backend, cases in needs:
                backend.foresee(cases)

    def _hear_of_build(self, done: int, of: int) -> None:
        what = f"building {of} kernel{'s' if of > 1 else ''} for {self.device.processor[1]}"
        if done:
            self.progress.note(f"{what}: {done} done")
        else:
            self.progress.announce(what)

    def _known(self, stage: Stage) -> KnownInputs:
        settings = self.settings
        return KnownInputs(stage.sweep.plan, self.device, settings.seed, settings.check)

    def _allocate(
        self, stage: Stage, cases: Sequence[Case], buffers: dict[str, SweepBuffers]
    ) -> None:
        """Add what `cases` need to `buffers`, for the longest message of the stage."""
        for kind in dict.fromkeys(case.buffers for case in cases):
            if kind not in buffers:
                sizes = [case.size_bytes for case in stage.sweep.plan if case.buffers == kind]
                buffers[kind] = SweepBuffers(self.device, max(sizes), kind)

    def _group(self, stage: Stage, show: ShowRound) -> PointGroup:
        def watch(case: Case) -> Watch:
            return self.watch(f"the case {describe(case, stage)}")

        renew, one_state = self.guard.renew, self.settings.one_state
        return PointGroup(self.device, self.start, watch, renew, show, one_state)

    def _prepare(
        self, group: PointGroup, stage: Stage, case: Case, backends: list[Backend],
        pair: SweepBuffers, known: KnownInputs,
    ) -> None:  # fmt: skip
        """Add points for those of the backends that can run this case."""
        settings, able = self.settings, self._able(backends, case)
        if not able:
            return
        with self.watch_work("computing the expected results"):
            calls = known.of(case)
        with self.watch(f"preparing the case {describe(case, stage)}"):
            batch = settings.batch or self.device.timer.batch_for(case.size_bytes)
            rule = partial(settings.stopping.rule, stage.iters)
            group.add(case, able, pair.of(case), calls, rule, batch)

    def _run_group(self, group: PointGroup, stage: Stage, number: int) -> None:
        self.journal.expect(lambda: self._unfinished(group, stage))
        order = TurnOrder(self.settings.seed, self.launch, number)
        group.run(stage.warmup, order, stop_at_wrong=self.settings.stop_at_wrong)
        self._conclude(group, stage)

    def _able(self, backends: list[Backend], case: Case) -> list[Backend]:
        """Leave out, and say so, which cannot run this case."""
        able = []
        for backend in backends:
            reason = refusal(self.settings, backend, case)
            if reason is None:
                able.append(backend)
            else:
                self.journal.skip(backend.name, reason)
        return able

    def _unfinished(self, group: PointGroup, stage: Stage) -> list[Result]:
        """Return what there is of a group that still runs."""
        return [
            self._result(stage, point, provisional_check(point))
            for point in group.points
            if point.turns
        ]

    def _hear_of_round(self, done: int, of: int) -> None:
        self.journal.progressed()
        self.progress.note(f"{done} of {of} points have enough samples")

    def _conclude(self, group: PointGroup, stage: Stage) -> None:
        """Add the results of a group to the record; collective."""
        results = self._found(group.points)
        self.journal.expect()
        for point, check, arrivals in results:
            if self.world.rank == 0:
                self.journal.add(self._result(stage, point, check, arrivals))
        with self.watch("the writing of results"):
            self.world.after_rank_0()
        for point, check, _ in results:
            self._judge(point, check)

    def _found(self, points: Sequence[_Point]) -> list[tuple[_Point, Check, Arrivals]]:
        """Return what all ranks know of the points that have samples; collective."""
        with self.watch("the exchange of results"):
            return [
                (point, combined_check(self.world, point), arrivals_of(self.world, point))
                for point in points
                if point.turns
            ]

    def _result(self, stage: Stage, point: Point, check: Check, arrivals: Arrivals = ()) -> Result:
        found = result_of(self.device, point, check, stage.warmup, stage.suffix, arrivals)
        ruler = self.start.ruler
        if ruler is None or point.operation.clock is not MONOTONIC:
            return found
        median, is_queued = found.latency_us.median / 1e6, point.operation.stream_ordered
        doubts = ruler.doubts(median, batch=point.batch, by_events=is_queued)
        return replace(found, warnings=(*found.warnings, *doubts))

    def _judge(self, point: Point, check: Check) -> None:
        try:
            require_right(point, check)
        except WrongResult as error:
            if self.settings.stop_at_wrong:
                raise
            self.wrong.append(error)
