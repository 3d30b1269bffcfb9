"""The stages of a run, carried out: sweeps in groups, searches for launches, soaks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from msgspec.structs import replace

from nvrar_bench.backends.base import Backend
from nvrar_bench.backends.registry import open_backends
from nvrar_bench.devices.base import Device
from nvrar_bench.documents.journal import Journal
from nvrar_bench.documents.result import Check, Result
from nvrar_bench.errors import WrongResult
from nvrar_bench.guard import Guard, Watch
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
    Stage,
    describe,
    describe_group,
    refusal,
)
from nvrar_bench.run.starts import Start
from nvrar_bench.run.tuner import Heat, Tuner
from nvrar_bench.settings.launching import Tune
from nvrar_bench.settings.settings import Settings
from nvrar_bench.settings.soak import SoakLimit
from nvrar_bench.timing.loop import MONOTONIC

if TYPE_CHECKING:  # it loads rich, which rank 0 alone needs
    from nvrar_bench.report.progress import CaseProgress

# The kernel's own deadline comes first: it knows more about what it waits for than the guard does.
GUARD_EXTRA_S = 2.0
# Compiling and computing wait for no peer: --timeout is not about them, but nothing is unbounded.
LOCAL_WORK_LIMIT_S = 1800.0
_Point = TypeVar("_Point", bound=Point)


class NoProgress:
    """Shows nothing of how far the run is: for the ranks that do not speak for all."""

    def begin(self, what: str, cases: int = 1) -> None:
        """So many cases begin."""

    def note(self, activity: str) -> None:
        """Something else goes on, before or between cases."""

    def announce(self, activity: str) -> None:
        """Something begins that may take long."""


RunProgress: TypeAlias = "NoProgress | CaseProgress"


class StageRunner:
    """Runs stages on an open device; every rank does the same, rank 0 keeps the journal.

    `launch`: which one this is of several, for the order of measurement.
    """

    def __init__(
        self, settings: Settings, device: Device, start: Start, journal: Journal, guard: Guard,
        progress: RunProgress, launch: int,
    ) -> None:  # fmt: skip
        self._settings, self._device, self._start = settings, device, start
        self._world, self._journal = device.world, journal
        self._guard, self._progress, self._launch = guard, progress, launch
        self.wrong: list[WrongResult] = []

    def run(self, stage: Stage, dtypes: Collection[str]) -> None:
        """Run a stage; `dtypes` are those of all stages, whose kernels are built at once.

        The first wrong case is raised if `stop_at_wrong`; else it is kept in `wrong`.
        """
        if self._settings.soak:
            self._soak(stage, self._settings.soak)
        elif self._settings.tune:
            self._tune(stage, self._settings.tune)
        else:
            self._sweep(stage, dtypes)

    def _sweep(self, stage: Stage, dtypes: Collection[str]) -> None:
        backends = self._ready(stage, dtypes)
        known, buffers = self._known(stage), dict[str, SweepBuffers]()
        together = MOST_TOGETHER if self._settings.interleave else 1
        for number, group in enumerate(stage.groups(together)):
            self._allocate(stage, group, buffers)
            self._progress.begin(describe_group(group, stage), len(group))
            self._run_group(stage, number, group, backends, buffers, known)
        for backend in backends:
            backend.close()
        for pair in buffers.values():
            pair.release()

    def _ready(self, stage: Stage, dtypes: Collection[str]) -> list[Backend]:
        """Open the backends, and build what the plan takes."""
        with self._watch("opening the backends"):
            backends = self._open(stage)
        plan, settings = stage.sweep.plan, self._settings
        self._build(
            [(one, [c for c in plan if refusal(settings, one, c) is None]) for one in backends],
            dtypes,
        )
        return backends

    def _tune(self, stage: Stage, tune: Tune) -> None:
        """At each size a race of launches; the table is written after each."""
        with self._watch("opening the backends"):
            (backend,) = self._open(stage)
            made_on = facts.made_on(stage.world, self._device)
            tuner = Tuner(backend, tune, made_on, self._settings.batch)
        plan = stage.sweep.plan
        self._build([(backend, tuner.kernels(plan))], dict.fromkeys(case.dtype for case in plan))
        known, buffers = self._known(stage), dict[str, SweepBuffers]()
        for number, case in enumerate(stage.sweep.plan):
            self._allocate(stage, [case], buffers)
            self._progress.begin(describe(case, stage))
            with self._guard.watch("computing the expected results", LOCAL_WORK_LIMIT_S):
                calls = known.of(case)
            with self._watch("relating the clocks"):
                self._start.renew()
            with self._watch(f"preparing the case {describe(case, stage)}"):
                heat = Heat(
                    tuner, case, partial(self._group, stage), buffers[case.buffers].of(case), calls,
                    self._guard.renew, self._progress.note,
                )  # fmt: skip
            order = TurnOrder(self._settings.seed, self._launch, number)
            heat.group.run(stage.warmup, order, stop_at_wrong=True)
            self._conclude(heat.group, stage)
            for reason in heat.refused:
                self._journal.skip(backend.name, reason)
            self._journal.learn({"tuning": tuner.keep(heat.choice())})
        self._journal.learn({"tuning": tuner.complete()})
        backend.close()
        for pair in buffers.values():
            pair.release()

    def _soak(self, stage: Stage, limit: SoakLimit) -> None:
        with self._watch("opening the backends"):
            backends = self._open(stage)
        with self._guard.watch("a soak", LOCAL_WORK_LIMIT_S):
            soak = Soak(self._device, backends, self._settings.seed, self._guard.renew, self._build)
            soak.run(limit, self._hear_of_soak)
        for backend in backends:
            backend.close()
        soak.release()

    def _hear_of_soak(self, done: dict[str, Any]) -> None:
        self._journal.learn({"soak": done})
        self._progress.note(f"soak: {done['calls']} calls in {done['seconds']:.0f} s, all right")

    def _open(self, stage: Stage) -> list[Backend]:
        names = self._settings.backends or stage.sweep.backends
        backends, absent = open_backends(
            names, stage.world, self._device, self._settings.timeout, self._settings.tuning
        )
        for name, reason in absent:
            self._journal.skip(name, reason)
        for backend in backends:
            self._journal.learn(backend.facts())
        return backends

    def _build(
        self, needs: Sequence[tuple[Backend, Sequence[Case]]], dtypes: Collection[str]
    ) -> None:
        """Compile what the device and `needs` take, all of it side by side, and load it."""
        self._progress.note("building kernels")
        kernels = [kernel for backend, cases in needs for kernel in backend.kernels(cases)]
        with self._guard.watch("building the kernels", LOCAL_WORK_LIMIT_S):
            self._device.build_ahead(dtypes, kernels, self._hear_of_build)
            for backend, cases in needs:
                backend.foresee(cases)

    def _hear_of_build(self, done: int, of: int) -> None:
        what = f"building {of} kernel{'s' if of > 1 else ''} for {self._device.processor[1]}"
        if done:
            self._progress.note(f"{what}: {done} done")
        else:
            self._progress.announce(what)

    def _known(self, stage: Stage) -> KnownInputs:
        settings = self._settings
        return KnownInputs(stage.sweep.plan, self._device, settings.seed, settings.check)

    def _allocate(
        self, stage: Stage, cases: Sequence[Case], buffers: dict[str, SweepBuffers]
    ) -> None:
        """Add what `cases` need to `buffers`, for the longest message of the stage."""
        for kind in dict.fromkeys(case.buffers for case in cases):
            if kind not in buffers:
                sizes = [case.size_bytes for case in stage.sweep.plan if case.buffers == kind]
                buffers[kind] = SweepBuffers(self._device, max(sizes), kind)

    def _group(self, stage: Stage, show: ShowRound) -> PointGroup:
        def watch(case: Case) -> Watch:
            return self._watch(f"the case {describe(case, stage)}")

        renew, one_state = self._guard.renew, self._settings.one_state
        return PointGroup(self._device, self._start, watch, renew, show, one_state)

    def _run_group(
        self, stage: Stage, number: int, cases: Sequence[Case], backends: list[Backend],
        buffers: dict[str, SweepBuffers], known: KnownInputs,
    ) -> None:  # fmt: skip
        settings = self._settings
        rule = partial(settings.stopping.rule, stage.iters)
        group = self._group(stage, self._hear_of_round)
        with self._watch("relating the clocks"):
            self._start.renew()
        for case in cases:
            able = self._able(backends, case)
            if not able:
                continue
            with self._guard.watch("computing the expected results", LOCAL_WORK_LIMIT_S):
                calls = known.of(case)
            with self._watch(f"preparing the case {describe(case, stage)}"):
                place = buffers[case.buffers].of(case)
                batch = settings.batch or self._device.timer.batch_for(case.size_bytes)
                group.add(case, able, place, calls, rule, batch)
        self._journal.expect(lambda: self._unfinished(group, stage))
        order = TurnOrder(settings.seed, self._launch, number)
        group.run(stage.warmup, order, stop_at_wrong=settings.stop_at_wrong)
        self._conclude(group, stage)

    def _able(self, backends: list[Backend], case: Case) -> list[Backend]:
        """Leave out, and say so, which cannot run this case."""
        able = []
        for backend in backends:
            reason = refusal(self._settings, backend, case)
            if reason is None:
                able.append(backend)
            else:
                self._journal.skip(backend.name, reason)
        return able

    def _unfinished(self, group: PointGroup, stage: Stage) -> list[Result]:
        """Return what there is of a group that still runs."""
        return [
            self._result(stage, point, provisional_check(point))
            for point in group.points
            if point.turns
        ]

    def _hear_of_round(self, done: int, of: int) -> None:
        self._journal.progressed()
        self._progress.note(f"{done} of {of} points have enough samples")

    def _conclude(self, group: PointGroup, stage: Stage) -> None:
        """Add the results of a group to the record; collective."""
        results = self._found(group.points)
        self._journal.expect()
        for point, check, arrivals in results:
            if self._world.rank == 0:
                self._journal.add(self._result(stage, point, check, arrivals))
        with self._watch("the writing of results"):
            self._world.after_rank_0()
        for point, check, _ in results:
            self._judge(point, check)

    def _found(self, points: Sequence[_Point]) -> list[tuple[_Point, Check, Arrivals]]:
        """Return what all ranks know of the points that have samples; collective."""
        with self._watch("the exchange of results"):
            return [
                (point, combined_check(self._world, point), arrivals_of(self._world, point))
                for point in points
                if point.turns
            ]

    def _result(self, stage: Stage, point: Point, check: Check, arrivals: Arrivals = ()) -> Result:
        found = result_of(self._device, point, check, stage.warmup, stage.suffix, arrivals)
        ruler = self._start.ruler
        if ruler is None or point.operation.clock is not MONOTONIC:
            return found
        median, is_queued = found.latency_us.median / 1e6, point.operation.stream_ordered
        doubts = ruler.doubts(median, batch=point.batch, by_events=is_queued)
        return replace(found, warnings=(*found.warnings, *(doubt.text for doubt in doubts)))

    def _judge(self, point: Point, check: Check) -> None:
        try:
            require_right(point, check)
        except WrongResult as error:
            if self._settings.stop_at_wrong:
                raise
            self.wrong.append(error)

    def _watch(self, what: str) -> Watch:
        return self._guard.watch(what, self._settings.timeout + GUARD_EXTRA_S)
