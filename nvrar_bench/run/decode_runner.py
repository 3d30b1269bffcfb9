"""The stage of `decode`, carried out: batch after batch, the steps of all backends in turns."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from nvrar_bench.documents.decode import BatchResult
from nvrar_bench.plan import Case
from nvrar_bench.run.decode import DecodeSteps, StepPoint
from nvrar_bench.run.outcome import provisional_check
from nvrar_bench.run.point_group import TurnOrder
from nvrar_bench.run.stage_runner import LOCAL_WORK_LIMIT_S, StageRunner
from nvrar_bench.run.stages import Stage, describe
from nvrar_bench.settings.models import shard_of
from nvrar_bench.settings.sweeps import Decode


class DecodeRunner(StageRunner):
    """Runs the steps of a model; as StageRunner."""

    def run(self, stage: Stage, dtypes: Collection[str]) -> None:
        """Run all batches; each is written when it is done.

        Raises:
            WrongResult: at the first wrong batch.
        """
        decode = self._settings.decode
        if decode is None:
            raise TypeError("there is no step to run")
        backends, known = self._ready(stage, dtypes), self._known(stage)
        shard = shard_of(decode.model, self._world.size)
        with self._guard.watch("setting memory aside", LOCAL_WORK_LIMIT_S):
            steps = DecodeSteps(self._device, shard, decode, stage.sweep.plan.cases)
        for number, case in enumerate(stage.sweep.plan):
            self._progress.begin(self._named(case, decode))
            with self._watch("relating the clocks"):
                self._start.renew()
            able = self._able(backends, case)
            if not able:
                continue
            with self._guard.watch("computing the expected results", LOCAL_WORK_LIMIT_S):
                calls = known.of(case)
            with self._guard.watch("preparing the steps", LOCAL_WORK_LIMIT_S):
                points = list(steps.points(case, able, calls, self._settings.stopping.rule))
            self._journal.learn(self._device.facts())
            self._run_batch(stage, number, points, steps)
        for backend in backends:
            backend.close()
        steps.release()

    def _named(self, case: Case, decode: Decode) -> str:
        return f"{decode.model.name}, a batch of {decode.batch_of(case)}"

    def _run_batch(
        self, stage: Stage, number: int, points: Sequence[StepPoint], steps: DecodeSteps
    ) -> None:
        group = self._group(stage, self._hear_of_round)
        for point in points:
            group.add_point(point)
        for point in points:
            with self._watch(f"the case {describe(point.case, stage)}"):
                point.verify_every_call(self._device, self._guard.renew)

        def unfinished() -> list[BatchResult]:
            taken = [(point, provisional_check(point), ()) for point in points if point.turns]
            return [steps.result(points[0].case, taken, stage.warmup)] if taken else []

        self._journal.expect(unfinished)
        order = TurnOrder(self._settings.seed, self._launch, number)
        group.run(stage.warmup, order, stop_at_wrong=self._settings.stop_at_wrong)
        found = self._found(points)
        self._journal.expect()
        if self._world.rank == 0:
            self._journal.add(steps.result(points[0].case, found, stage.warmup))
        for point, check, _ in found:
            self._judge(point, check)
