"""A run: join the ranks, open the backends, run every case, and keep the journal."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

from msgspec.structs import replace

import nvrar_bench
from nvrar_bench.backends.base import Backend
from nvrar_bench.backends.registry import open_backends
from nvrar_bench.devices.base import Device
from nvrar_bench.devices.opening import GpuOptions, open_device
from nvrar_bench.documents.record import RunRecord
from nvrar_bench.documents.result import Check, Result
from nvrar_bench.errors import WrongResult
from nvrar_bench.guard import Guard, Watch
from nvrar_bench.plan import Case
from nvrar_bench.run import facts, memory
from nvrar_bench.run.block import Block
from nvrar_bench.run.buffers import KnownInputs, SweepBuffers
from nvrar_bench.run.journal import Journal
from nvrar_bench.run.outcome import (
    Arrivals,
    arrivals_of,
    combined_check,
    provisional_check,
    require_right,
    result_of,
)
from nvrar_bench.run.point import Point
from nvrar_bench.run.soak import Soak
from nvrar_bench.run.stages import (
    MOST_TOGETHER,
    Stage,
    describe,
    describe_block,
    left_out,
    refusal,
    stages,
)
from nvrar_bench.run.starts import Start
from nvrar_bench.run.tuner import Heat, Tuner
from nvrar_bench.settings.search import Tune
from nvrar_bench.settings.settings import Settings
from nvrar_bench.settings.soak import SoakLimit
from nvrar_bench.timing.loop import MONOTONIC
from nvrar_bench.timing.order import Order
from nvrar_bench.world import World

# The kernel's own deadline comes first: it knows more about what it waits for than the guard does.
_GUARD_EXTRA_S = 2.0
# Compiling and computing wait for no peer: --timeout is not about them, but nothing is unbounded.
_LOCAL_WORK_LIMIT_S = 1800.0


class Progress(Protocol):
    """Who is told how far the run is."""

    def begin(self, what: str, cases: int = 1) -> None:
        """So many cases begin."""

    def note(self, activity: str) -> None:
        """Something else goes on, before or between cases."""

    def announce(self, activity: str) -> None:
        """Something begins that may take long."""


class Session:
    """The collective work of a run; every rank does the same, rank 0 keeps the journal."""

    def __init__(
        self, settings: Settings, world: World, journal: Journal, guard: Guard,
        progress: Progress, launch: int = 0,
    ) -> None:  # fmt: skip
        self._settings, self._world, self._journal = settings, world, journal
        self._guard, self._progress, self._launch = guard, progress, launch
        self._device: Device
        self._wrong: list[WrongResult] = []

    def run(self, command: Sequence[str]) -> None:
        """Run all stages.

        Raises:
            WrongResult: after the first wrong case, or, unless `stop_at_wrong`, after the last.
            Unavailable: a backend or device asked for by name is not there.
            TimedOut: a wait passed its deadline.
        """
        todo = stages(self._settings, self._world)
        with self._watch("the agreement of all ranks"):
            self._world.require_agreement(self._must_agree())
        self._open_device(todo)
        memory.require_enough([stage.sweep.plan for stage in todo], self._device)
        if self._world.rank == 0:
            self._journal.begin(self._empty_record(command, todo))
        for reason in left_out(self._settings, self._world):
            self._journal.skip("all", reason)
        with self._watch("opening the start gate"):
            self._start = Start.open(self._device, self._settings.start)
            self._journal.learn(self._start.facts())
        with self._watch("the look at the machine"):
            self._device.examine()
        for stage in todo:
            if self._settings.soak:
                self._soak(stage, self._settings.soak)
            elif self._settings.tune:
                self._tune(stage, self._settings.tune)
            else:
                self._run_stage(stage, todo)
        self._device.close()
        if self._wrong:
            raise self._wrong[0]

    def _must_agree(self) -> dict[str, Any]:
        applied = self._settings.applied
        settings = facts.must_agree(self._settings.to_json())
        return {**settings, **(applied.must_agree() if applied else {})}

    def _open_device(self, todo: list[Stage]) -> None:
        settings = self._settings
        with self._guard.watch("opening the device", _LOCAL_WORK_LIMIT_S):
            self._device = open_device(
                self._world, settings.device, settings.timeout, gpu_options(settings, todo)
            )

    def _empty_record(self, command: Sequence[str], todo: list[Stage]) -> RunRecord:
        nodes = {stage.world.nodes for stage in todo}
        world = todo[0].world if len(nodes) == 1 else self._world
        return RunRecord.begin(
            command=command,
            version=nvrar_bench.__version__,
            settings={**self._settings.to_json(), "batch": self._batch_asked_for()},
            topology=facts.topology(world, self._device.name),
            environment={
                **facts.environment(self._world),
                **(self._settings.applied.to_json() if self._settings.applied else {}),
                **self._device.facts(),
            },
        )

    def _batch_asked_for(self) -> int | None:
        """Calls of every sample; None where the device takes fewer for longer messages."""
        is_always_one = self._device.batch_for(1) == 1
        return self._settings.batch or (1 if is_always_one else None)

    def _run_stage(self, stage: Stage, todo: Sequence[Stage]) -> None:
        with self._watch("opening the backends"):
            backends = self._open(stage)
        plan, settings = stage.sweep.plan, self._settings
        self._build(
            [(one, [c for c in plan if refusal(settings, one, c) is None]) for one in backends],
            dict.fromkeys(case.dtype for each in todo for case in each.sweep.plan),
        )
        known, buffers = self._known(stage), dict[str, SweepBuffers]()
        together = MOST_TOGETHER if self._settings.interleave else 1
        for number, block in enumerate(stage.blocks(together)):
            self._allocate(stage, block, buffers)
            self._progress.begin(describe_block(block, stage), len(block))
            self._run_block(stage, number, block, backends, buffers, known)
        for backend in backends:
            backend.close()
        for pair in buffers.values():
            pair.release()

    def _tune(self, stage: Stage, tune: Tune) -> None:
        """At each size a race of launches; the table is written after each."""
        with self._watch("opening the backends"):
            (backend,) = self._open(stage)
            tuner = Tuner(
                self._device,
                backend,
                tune,
                facts.made_on(stage.world, self._device),
                self._settings.batch,
            )
        plan = stage.sweep.plan
        self._build([(backend, tuner.kernels(plan))], dict.fromkeys(case.dtype for case in plan))
        known, buffers = self._known(stage), dict[str, SweepBuffers]()
        for number, case in enumerate(stage.sweep.plan):
            self._allocate(stage, [case], buffers)
            self._progress.begin(describe(case, stage))
            with self._guard.watch("computing the expected results", _LOCAL_WORK_LIMIT_S):
                calls = known.of(case)
            heat = Heat(tuner, case, self._guard.renew, self._progress.note)
            block = self._block(stage, heat.judge)
            with self._watch("relating the clocks"):
                self._start.renew()
            with self._watch(f"preparing the case {describe(case, stage)}"):
                heat.enter(block, buffers[case.buffers].of(case), calls)
            order = Order(self._settings.seed, self._launch, number)
            block.run(stage.warmup, order, stop_at_wrong=True)
            self._conclude(block, stage)
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
        with self._guard.watch("a soak", _LOCAL_WORK_LIMIT_S):
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
        self._device.world = stage.world
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
        with self._guard.watch("building the kernels", _LOCAL_WORK_LIMIT_S):
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

    def _block(self, stage: Stage, told: Callable[[int, int], None]) -> Block:
        return Block(
            self._device, self._start,
            lambda case: self._watch(f"the case {describe(case, stage)}"),
            self._guard.renew, told, self._settings.one_state,
        )  # fmt: skip

    def _run_block(
        self, stage: Stage, number: int, cases: Sequence[Case], backends: list[Backend],
        buffers: dict[str, SweepBuffers], known: KnownInputs,
    ) -> None:  # fmt: skip
        settings, stopping = self._settings, self._settings.stopping
        block = self._block(stage, self._hear_of_round)
        with self._watch("relating the clocks"):
            self._start.renew()
        for case in cases:
            able = self._able(backends, case)
            if not able:
                continue
            with self._guard.watch("computing the expected results", _LOCAL_WORK_LIMIT_S):
                calls = known.of(case)
            with self._watch(f"preparing the case {describe(case, stage)}"):
                block.add(
                    case, able, buffers[case.buffers].of(case), calls,
                    lambda: stopping.rule(stage.iters),
                    settings.batch or self._device.batch_for(case.size_bytes),
                )  # fmt: skip
        self._journal.expect(lambda: self._unfinished(block, stage))
        order = Order(settings.seed, self._launch, number)
        block.run(stage.warmup, order, stop_at_wrong=settings.stop_at_wrong)
        self._conclude(block, stage)

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

    def _unfinished(self, block: Block, stage: Stage) -> list[Result]:
        """Return what there is of a block that still runs."""
        return [
            self._result(stage, point, provisional_check(point))
            for point in block.points
            if point.turns
        ]

    def _hear_of_round(self, done: int, of: int) -> None:
        self._journal.progressed()
        self._progress.note(f"{done} of {of} points have enough samples")

    def _conclude(self, block: Block, stage: Stage) -> None:
        """Add the results of a block to the record; collective."""
        results = []
        with self._watch("the exchange of results"):
            for point in block.points:
                if point.turns:
                    check = combined_check(self._world, point)
                    arrivals = arrivals_of(self._world, point)
                    results.append((point, check, arrivals))
        self._journal.expect()
        for point, check, arrivals in results:
            if self._world.rank == 0:
                self._journal.add(self._result(stage, point, check, arrivals))
        for point, check, _ in results:
            self._judge(point, check)

    def _result(self, stage: Stage, point: Point, check: Check, arrivals: Arrivals = ()) -> Result:
        found = result_of(self._device, point, check, stage.warmup, stage.suffix, arrivals)
        ruler = self._start.ruler
        if ruler is None or point.operation.clock is not MONOTONIC:
            return found
        doubts = ruler.doubts(
            found.latency_us.median / 1e6, batch=point.batch,
            by_events=point.operation.stream_ordered,
        )  # fmt: skip
        return replace(found, warnings=(*found.warnings, *(doubt.text for doubt in doubts)))

    def _judge(self, point: Point, check: Check) -> None:
        try:
            require_right(point, check)
        except WrongResult as error:
            if self._settings.stop_at_wrong:
                raise
            self._wrong.append(error)

    def _watch(self, what: str) -> Watch:
        return self._guard.watch(what, self._settings.timeout + _GUARD_EXTRA_S)


def gpu_options(settings: Settings, todo: Sequence[Stage]) -> GpuOptions:
    """How a run uses GPUs. Symmetric buffers lie in NVSHMEM's heap, whatever the backends."""
    symmetric = any(case.buffers == "symmetric" for stage in todo for case in stage.sweep.plan)
    nvrar = not settings.backends or "nvrar" in settings.backends
    needed = memory.symmetric_bytes(todo, settings.radices)
    return GpuOptions(
        share=settings.share_gpu, graph=settings.graph, cold_cache=settings.cold_cache,
        heap_bytes=needed if nvrar or symmetric else None,
        heap_required="nvrar" in settings.backends, symmetric=symmetric,
        mapped_nodes=settings.tuning.mapped_nodes,
    )  # fmt: skip
