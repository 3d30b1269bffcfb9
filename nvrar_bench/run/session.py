"""A run: join the ranks, open the backends, run every case, and keep the journal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import nvrar_bench
from nvrar_bench.devices.base import Device
from nvrar_bench.devices.opening import GpuOptions, open_device
from nvrar_bench.documents.decode import DecodeRecord
from nvrar_bench.documents.record import Record, RunRecord
from nvrar_bench.run import buffers, facts
from nvrar_bench.run.decode import DecodeRunner, record_facts
from nvrar_bench.run.stage_runner import StageRunner
from nvrar_bench.run.stages import RunPart, Stage, left_out, stages
from nvrar_bench.run.starts import Start
from nvrar_bench.settings.models import shard_of
from nvrar_bench.settings.settings import Settings


class Session(RunPart):
    """The collective work of a run; every rank does the same."""

    def run(self, command: Sequence[str]) -> None:
        """Run all stages.

        WrongResult comes after the first wrong case, or, unless `stop_at_wrong`, after the last.
        """
        todo = stages(self.settings, self.world)
        with self.watch("the agreement of all ranks"):
            self.world.require_agreement(self._must_agree())
        self._require_ranks()
        with self.watch_work("opening the device"):
            options, settings = gpu_options(self.settings, todo), self.settings
            device = open_device(self.world, settings.device, settings.timeout, options)
        named = [settings.backends or stage.sweep.backends for stage in todo]
        has_nvrar = any(not names or "nvrar" in names for names in named)
        staging = buffers.STAGING_BYTES if has_nvrar else 0
        plans = [stage.sweep.plan for stage in todo]
        buffers.require_enough(plans, device, staging, todo[0].pairs)
        if self.world.rank == 0:
            self.journal.begin(self._empty_record(command, todo, device))
        with self.watch("the start of the record"):
            self.world.after_rank_0()
        for reason in left_out(self.settings, self.world):
            self.journal.skip("all", reason)
        runner = self._runner(device)
        dtypes = dict.fromkeys(case.dtype for stage in todo for case in stage.sweep.plan)
        for stage in todo:
            runner.run(stage, dtypes)
        device.close()
        if runner.wrong:
            raise runner.wrong[0]

    def _must_agree(self) -> dict[str, Any]:
        applied = self.settings.applied
        settings = facts.must_agree(self.settings.to_json())
        return {**settings, **(applied.must_agree() if applied else {})}

    def _require_ranks(self) -> None:
        """Refuse what does not go with so many ranks."""
        if self.settings.late:
            self.settings.late.require_among(self.world.size)
        if self.settings.decode:
            shard_of(self.settings.decode.model, self.world.size)

    def _empty_record(self, command: Sequence[str], todo: list[Stage], device: Device) -> Record:
        nodes = {stage.world.nodes for stage in todo}
        world = todo[0].world if len(nodes) == 1 else self.world
        kind, more = self._kind()
        return kind.begin(
            command=command,
            version=nvrar_bench.__version__,
            settings={**self.settings.to_json(), "batch": self._batch_asked_for(device)},
            topology=facts.topology(world, device.name),
            environment={
                **facts.environment(self.world),
                **(self.settings.applied.to_json() if self.settings.applied else {}),
                **device.facts(),
            },
            **more,
        )

    def _kind(self) -> tuple[type[Record], dict[str, Any]]:
        """The record of this run, and what only it has."""
        decode = self.settings.decode
        if decode is None:
            return RunRecord, {}
        return DecodeRecord, record_facts(shard_of(decode.model, self.world.size), decode)

    def _batch_asked_for(self, device: Device) -> int | None:
        """Calls of every sample; None where the device takes fewer for longer messages."""
        is_always_one = device.timer.batch_for(1) == 1
        return self.settings.batch or (1 if is_always_one else None)

    def _runner(self, device: Device) -> StageRunner:
        """Open the start gate, and look at the machine."""
        with self.watch("opening the start gate"):
            start = Start.open(device, self.settings.start, self.settings.late)
            self.journal.learn(start.facts())
            if self.world.machines > 1:
                self._learn_path()
        with self.watch("the look at the machine"):
            device.examine()
        kind = DecodeRunner if self.settings.decode else StageRunner
        return kind(**vars(self), device=device, start=start)

    def _learn_path(self) -> None:
        """What carries messages between machines, as rank 0 sees it; a table may be of another."""
        path = self.world.comm.bcast(facts.between_machines())
        self.journal.learn({"between_machines": path})
        table = self.settings.tuning.table
        if table is not None:
            table.require_same_path(path)


def gpu_options(settings: Settings, todo: Sequence[Stage]) -> GpuOptions:
    """How a run uses GPUs. Symmetric buffers lie in NVSHMEM's heap, whatever the backends."""
    symmetric = any(case.buffers == "symmetric" for stage in todo for case in stage.sweep.plan)
    nvrar = not settings.backends or "nvrar" in settings.backends
    needed = buffers.symmetric_bytes(todo, settings.schedules)
    return GpuOptions(
        share=settings.share_gpu,
        graph=settings.graph,
        cold_cache=settings.cold_cache,
        heap_bytes=needed if nvrar or symmetric else None,
        heap_required="nvrar" in settings.backends,
        symmetric=symmetric,
        mapped_nodes=settings.tuning.mapped_nodes,
    )
