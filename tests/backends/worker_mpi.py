"""MPI's own all-reduce, on every type and op that it has, in place and out of place."""

from __future__ import annotations

import json
import sys

import numpy as np

from nvrar_bench.backends.mpi import MpiBackend
from nvrar_bench.datatypes import DTYPES
from nvrar_bench.devices.cpu import CpuDevice
from nvrar_bench.plan import Case
from nvrar_bench.run.as_rank import join_world
from nvrar_bench.settings.plans import build_plan
from nvrar_bench.timing.loop import Gate, Timings
from nvrar_bench.verify import CheckResult, KnownReduction, check

COUNT = 103


def main() -> None:
    world = join_world()
    device = CpuDevice(world, 10.0)
    gate = device.start_gate()
    backend = MpiBackend(world, device, 10.0)
    plan = build_plan(
        dtypes=("all",), ops=("all",), counts=(COUNT,), placements=("out_of_place", "in_place")
    )
    problems, calls = [], 0
    for case in (case for case in plan if backend.unsupported(case) is None):
        results = launched_and_timed(backend, gate, case)
        calls += len(results)
        problems += [f"{case}: {result.first_wrong}" for result in results if result.wrong]
    problems += errors(backend, case)
    everyone = world.comm.allgather(problems)
    if world.rank == 0:
        found = [problem for of_rank in everyone for problem in of_rank]
        json.dump({"calls": calls, "problems": found, "sizes": sizes()}, sys.stdout)


def launched_and_timed(backend: MpiBackend, gate: Gate, case: Case) -> list[CheckResult]:
    """What comes of the case when it is launched, and when it is timed."""
    world = backend.world
    problem = KnownReduction(case.dtype, case.op, world.size, "exact", 5)
    inputs = problem.inputs(world.rank, COUNT)
    send = inputs.copy()
    recv = send if case.placement == "in_place" else np.zeros_like(send)
    operation = backend.prepare(case, send, recv)
    assert operation.native

    def renew() -> None:
        recv[:] = 0
        send[:] = inputs

    def checked() -> CheckResult:
        return check(recv, problem.expected(COUNT), COUNT, world.rank)

    renew()
    operation.launch()
    launched = checked()
    backend.device.timer.time_calls(operation, renew, gate, Timings.empty(1))
    return [launched, checked()]


def errors(backend: MpiBackend, case: Case) -> list[str]:
    """What is wrong with how a failed call is told."""
    from mpi4py import MPI

    memory = np.zeros(COUNT)
    operation = backend.prepare(case, memory, memory)
    operation.end_native(MPI.SUCCESS)
    try:
        operation.end_native(MPI.ERR_COUNT)
    except MPI.Exception as error:
        return [] if error.Get_error_class() == MPI.ERR_COUNT else [str(error)]
    return ["a call that failed is not told of"]


def sizes() -> dict[str, int]:
    """What each of MPI's datatypes holds, in bytes."""
    from mpi4py import MPI  # once MPI was initialised as the product does it

    return {name: getattr(MPI, row.mpi).Get_size() for name, row in DTYPES.items() if row.mpi}


if __name__ == "__main__":
    main()
