"""A step of MPI's and NVRAR's all-reduces with work between, and steps in which a part fails."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

from mpi4py import MPI

from nvrar_bench.backends.mpi import MpiBackend
from nvrar_bench.backends.nvrar import engine_for
from nvrar_bench.backends.nvrar.backend import FLAG_SPAN, NvrarBackend
from nvrar_bench.backends.nvrar.tuning import Tuning
from nvrar_bench.devices.cpu import CpuDevice
from nvrar_bench.devices.operation import Operation
from nvrar_bench.devices.work import Stream
from nvrar_bench.errors import TimedOut
from nvrar_bench.run.as_rank import join_world
from nvrar_bench.run.buffers import KnownInputs, SweepBuffers
from nvrar_bench.settings.plans import build_plan
from nvrar_bench.timing.loop import Timings
from nvrar_bench.world import World

ROUNDS, SHORT_S, READ = 12, 0.3, 102_400
# The flags of packets come round in the middle of what precedes the fifth step.
EPOCHS_BEFORE = 20
COUNTS = (3, 1009, 40_000)


class Step:
    """The same sizes by either backend, each call on buffers of its own."""

    def __init__(self, device: CpuDevice, mpi: MpiBackend, nvrar: NvrarBackend) -> None:
        self.device, self.parts, self.calls = device, [], []
        for count, protocol in zip(COUNTS, ("packet", "signal", "auto"), strict=True):
            (case,) = build_plan(counts=(count,), protocols=(protocol,))
            known = KnownInputs((case,), device, count, with_results=True).of(case)
            for backend in (mpi, nvrar):
                buffers = SweepBuffers(device, case.size_bytes, "symmetric").of(case)
                operation = backend.prepare(case, buffers.send, buffers.recv)
                self.parts += [operation, device.work(Stream(READ))]
                self.calls.append((buffers, known))

    def problems(self, run, number: int) -> list[str]:
        """What is wrong with the results when it has run."""
        for buffers, known in self.calls:
            buffers.restore(known[number % 2].inputs)
            buffers.spoil()
        run()
        found = [known[number % 2].check(each.recv, each.around) for each, known in self.calls]
        return [
            f"step {number}, call {call}: {result.first_wrong}"
            for call, findings in enumerate(found)
            for result in findings.results
            if result.wrong or not findings.intact
        ]


def message(action) -> str | None:
    """What it raises, in words."""
    try:
        action()
    except TimedOut as error:
        return str(error)
    except MPI.Exception as error:
        return f"{error.Get_error_class() - MPI.ERR_COUNT} beyond MPI_ERR_COUNT"
    return None


def failing(backend: MpiBackend, step: Step) -> Operation:
    """MPI's call of a negative number of elements."""
    operation = step.parts[0]
    words = list(operation.native.arguments)
    words[2] = 2**64 - 1
    (case,), buffers = build_plan(counts=(COUNTS[0],)), step.calls[0][0]
    broken = backend.prepare(case, buffers.send, buffers.recv)
    broken.native = replace(operation.native, arguments=tuple(words))
    return broken


def main() -> None:
    world = join_world()
    device = CpuDevice(world, 30.0)
    gate = device.start_gate()
    mpi = MpiBackend(world, device, 30.0)
    nvrar = NvrarBackend(
        world, engine_for(world, device, False), 30.0, Tuning(first_epoch=FLAG_SPAN - EPOCHS_BEFORE)
    )
    step = Step(device, mpi, nvrar)
    sequence = device.sequence(step.parts)

    def timed(batch: int, what: Operation = sequence) -> None:
        device.timer.time_calls(what, lambda: None, gate, Timings.empty(1), batch)

    ways = (sequence.launch, lambda: timed(1), lambda: timed(3))
    problems = [text for i in range(ROUNDS) for text in step.problems(ways[i % 3], i)]
    checks = ROUNDS * len(step.calls)
    epochs = [nvrar.epochs.read()[0], nvrar._epoch]

    wrong = failing(mpi, step)
    in_mpi = message(lambda: timed(1, device.sequence([*step.parts[:4], wrong, *step.parts])))
    single = {"mpi": message(lambda: timed(1, wrong))}

    waits, single["nvrar"] = waiting(device, world, step)
    mine = problems, checks, epochs, in_mpi, waits
    everyone = world.comm.gather(mine)
    if everyone:
        names = ("problems", "checks", "epochs", "mpi", "waits")
        found = {name: [of[i] for of in everyone] for i, name in enumerate(names)}
        json.dump({"single": single, **found}, sys.stdout)


def waiting(device: CpuDevice, world: World, step: Step) -> tuple[object, str | None]:
    """What rank 0 says of a call that rank 1 does not make, in a step and alone."""
    buffers = step.calls[1][0]
    (case,) = build_plan(counts=(COUNTS[0],), protocols=("signal",))
    shorts = [NvrarBackend(world, engine_for(world, device, False), SHORT_S) for _ in range(2)]
    in_step, alone = (each.prepare(case, buffers.send, buffers.recv) for each in shorts)
    parts = step.parts[:4] if world.rank else [*step.parts[:4], in_step, *step.parts[:2]]
    sequence, memory = device.sequence(parts), device.works._work_memory
    before = memory.next
    text = message(sequence.launch)
    read = (memory.next - before) % memory.nbytes // READ
    return (text, read), None if world.rank else message(alone.launch)


if __name__ == "__main__":
    main()
