"""Decode steps: layer after layer, work and two all-reduces, measured whole and without these.

All steps of one batch are points of a group, and so is the step without all-reduces: they take
turns in the same rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from nvrar_bench.backends.base import Backend, Operation
from nvrar_bench.devices.base import Device
from nvrar_bench.devices.work import Gemm, Stream, Work
from nvrar_bench.documents.decode import (
    WITHOUT,
    BatchResult,
    ModelFacts,
    StepFacts,
    TimedStep,
)
from nvrar_bench.documents.result import Check
from nvrar_bench.plan import Case
from nvrar_bench.run.buffers import SETS, CaseBuffers, KnownCall, SweepBuffers
from nvrar_bench.run.outcome import Arrivals, provisional_check, samples_of, shape_of
from nvrar_bench.run.point import Point
from nvrar_bench.run.point_group import TurnOrder
from nvrar_bench.run.stage_runner import StageRunner
from nvrar_bench.run.stages import PAIRS, Stage, describe
from nvrar_bench.settings.models import Shard, shard_of
from nvrar_bench.settings.sweeps import Decode
from nvrar_bench.statistics.decode import backend_step, compared, timed_step
from nvrar_bench.timing.stopping import StoppingRule

Calls = tuple[Operation, ...]
MakeRule = Callable[[], StoppingRule]


@dataclass(eq=False)
class StepPoint(Point):
    """Steps of one backend; `parts` are those of one step, in order, and `pairs` its buffers.

    What is timed is `operation`, all parts at once; `known` are sets of inputs.
    """

    parts: Calls = ()
    pairs: tuple[CaseBuffers, ...] = ()
    all_reduces: Calls = ()

    @property
    def all_reduce(self) -> Operation:
        """The first; the others differ in nothing but their buffers."""
        return self.all_reduces[0] if self.all_reduces else self.operation

    def restore(self, number: int = 0) -> None:
        """Put the inputs of all pairs in place."""
        for place, pair in enumerate(self.pairs):
            pair.restore(self._known(number, place).inputs)

    def renew(self) -> None:
        """Read and write between two steps what a program does."""
        for place, pair in enumerate(self.pairs):
            pair.renew(self._known(0, place).inputs)

    def spoil(self) -> None:
        """Poison all outputs."""
        for pair in self.pairs:
            pair.spoil()

    def compare(self, number: int = 0) -> None:
        """Check what the last call on each pair has left."""
        for place, pair in enumerate(self.pairs):
            self.keep(self._known(number, place).check(pair.recv, pair.around))

    def verify_every_call(self, device: Device, alive: Callable[[], None]) -> None:
        """Run a step part by part, and check each all-reduce; ranks wait for no gate in between."""
        calls = 0
        for part in self.parts:
            alive()
            if part not in self.all_reduces:
                part.launch()
                continue
            number, place = divmod(calls, len(self.pairs))
            pair, known = self.pairs[place], self._known(number, place)
            pair.restore(known.inputs)
            pair.spoil()
            part.launch()
            device.finish(part)
            self.keep(known.check(pair.recv, pair.around))
            calls += 1

    def _known(self, number: int, place: int) -> KnownCall:
        """What a call may wrongly find left over, of two calls before, belongs to the other set."""
        return self.known[(number + place // 2) % SETS]


@dataclass(frozen=True)
class LayerWork:
    """What a rank does in each layer before either all-reduce, and behind the last layer."""

    attention: tuple[Work, ...] = ()
    mlp: tuple[Work, ...] = ()
    head: tuple[Work, ...] = ()

    @classmethod
    def of(cls, shard: Shard, decode: Decode, batch: int) -> LayerWork:
        """Return the work of a step with `batch` sequences."""
        attention, mlp, head = shard.attention(batch), shard.mlp(batch), shard.head(batch)
        kv_bytes = shard.kv_bytes(batch, decode.context)
        if decode.compute == "none":
            return cls()
        if decode.compute == "stream":
            first = shard.weight_bytes(attention) + kv_bytes
            rest = (shard.weight_bytes(mlp), shard.weight_bytes(head))
            return cls(*((Stream(nbytes),) for nbytes in (first, *rest)))
        (qkv, out), dtype = attention, shard.model.torch_dtype
        cache = (Stream(kv_bytes),) if kv_bytes else ()
        works = (Gemm((qkv,), dtype), *cache, Gemm((out,), dtype))
        return cls(works, (Gemm(mlp, dtype),), (Gemm(head, dtype),))

    def step(
        self, layers: int, work: Callable[[Work], Operation], all_reduces: Sequence[Operation]
    ) -> Calls:
        """Return the parts of a step, in order; without all-reduces, the work alone."""
        halves = [tuple(map(work, of_half)) for of_half in (self.attention, self.mlp)]
        parts: list[Operation] = []
        for i in range(2 * layers):
            parts += halves[i % 2]
            if all_reduces:
                parts.append(all_reduces[i % len(all_reduces)])
        return (*parts, *map(work, self.head))


class DecodeSteps:
    """The steps of a model on this rank, for each batch of `cases` in turn; collective."""

    def __init__(
        self, device: Device, shard: Shard, decode: Decode, cases: Sequence[Case], rule: MakeRule
    ) -> None:
        self._device, self._shard, self._decode, self._rule = device, shard, decode, rule
        longest = max(cases, key=lambda case: case.size_bytes)
        self._buffers = [
            SweepBuffers(device, longest.size_bytes, longest.buffers)
            for _ in range(min(PAIRS, shard.model.all_reduces))
        ]
        device.reserve(shard.step_bytes(max(decode.batches), decode.context))

    def points(
        self, case: Case, backends: Sequence[Backend], known: list[KnownCall]
    ) -> Iterator[StepPoint]:
        """Prepare the steps of a batch, the one without all-reduces last."""
        for backend in backends:
            yield self._point(backend.name, case, backend, known)
        if self._decode.compute != "none":
            yield self._point(WITHOUT, case, backends[0], [])

    def _point(self, name: str, case: Case, backend: Backend, known: list[KnownCall]) -> StepPoint:
        buffers = tuple(pair.of(case) for pair in self._buffers)
        pairs = () if name == WITHOUT else buffers
        calls = tuple(backend.prepare(case, pair.send, pair.recv) for pair in pairs)
        work = LayerWork.of(self._shard, self._decode, self._decode.batch_of(case))
        parts = work.step(self._shard.model.num_hidden_layers, backend.work, calls)
        return StepPoint(
            backend=name,
            case=case,
            operation=self._device.sequence(parts, graph=self._decode.one_graph),
            buffers=buffers[0],
            known=known,
            rule=self._rule(),
            parts=parts,
            pairs=pairs,
            all_reduces=calls,
        )

    def release(self) -> None:
        """Give the buffers back."""
        for pair in self._buffers:
            pair.release()

    def result(
        self, case: Case, found: Sequence[tuple[StepPoint, Check, Arrivals]], warmup: int
    ) -> BatchResult:
        """Return what the steps of a batch come to: those that have samples."""
        timed = {one.backend: self._timed(one, warmup, arrivals) for one, _, arrivals in found}
        work = timed.pop(WITHOUT, None)
        left = [(one, one.all_reduce, check) for one, check, _ in found if one.backend in timed]
        steps = [
            backend_step(one.backend, call.variant, timed[one.backend], check, shape_of(call))
            for one, call, check in left
        ]
        batch, has_work = self._decode.batch_of(case), self._decode.compute != "none"
        kv_bytes = self._shard.kv_bytes(batch, self._decode.context)
        sizes = batch, case.count, case.size_bytes, kv_bytes
        return compared(BatchResult(*sizes, work, tuple(steps)), has_work)

    def _timed(self, point: StepPoint, warmup: int, arrivals: Arrivals) -> TimedStep:
        return timed_step(
            samples_of(point),
            point.late,
            point.rule.target,
            warmup=warmup,
            stop_reason=point.stop_reason,
            arrivals=arrivals,
            warnings=(*self._device.warnings(), *point.all_reduce.warnings),
        )


class DecodeRunner(StageRunner):
    """Runs the steps of a model; as StageRunner."""

    def run(self, stage: Stage, dtypes: Collection[str]) -> None:
        """Run all batches; each is written when it is done. WrongResult: at the first wrong one."""
        decode = self.settings.decode
        if decode is None:
            raise TypeError("there is no step to run")
        backends, known = self._ready(stage, dtypes), self._known(stage)
        shard = shard_of(decode.model, self.world.size)
        with self.watch_work("setting memory aside"):
            rule = self.settings.stopping.rule
            steps = DecodeSteps(self.device, shard, decode, stage.sweep.plan.cases, rule)
        for number, case in enumerate(stage.sweep.plan):
            self.progress.begin(f"{decode.model.name}, a batch of {decode.batch_of(case)}")
            with self.watch("relating the clocks"):
                self.start.renew()
            able = self._able(backends, case)
            if not able:
                continue
            with self.watch_work("computing the expected results"):
                calls = known.of(case)
            with self.watch_work("preparing the steps"):
                points = list(steps.points(case, able, calls))
            self.journal.learn(self.device.facts())
            self._run_batch(stage, number, points, steps)
        for backend in backends:
            backend.close()
        steps.release()

    def _run_batch(
        self, stage: Stage, number: int, points: Sequence[StepPoint], steps: DecodeSteps
    ) -> None:
        group = self._group(stage, self._hear_of_round)
        for point in points:
            group.add_point(point)
            with self.watch(f"the case {describe(point.case, stage)}"):
                point.verify_every_call(self.device, self.guard.renew)

        def unfinished() -> list[BatchResult]:
            taken = [(point, provisional_check(point), ()) for point in points if point.turns]
            return [steps.result(points[0].case, taken, stage.warmup)] if taken else []

        self.journal.expect(unfinished)
        order = TurnOrder(self.settings.seed, self.launch, number)
        group.run(stage.warmup, order, stop_at_wrong=self.settings.stop_at_wrong)
        found = self._found(points)
        self.journal.expect()
        if self.world.rank == 0:
            self.journal.add(steps.result(points[0].case, found, stage.warmup))
        for point, check, _ in found:
            self._judge(point, check)


def record_facts(shard: Shard, decode: Decode) -> dict[str, ModelFacts | StepFacts]:
    """What the record says of model and step."""
    model, layer, head = shard.model, shard.layer_bytes, shard.weight_bytes(shard.head(1))
    facts = {name: getattr(model, name) for name in ModelFacts.__struct_fields__}
    return {
        "model": ModelFacts(**facts),
        "step": StepFacts(
            shard.ranks, model.all_reduces, layer, head, decode.context, decode.compute
        ),
    }
