"""MPI's own all-reduce, on every type and op that it has, in place and out of place."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np

from nvrar_bench.backends.mpi import MpiBackend
from nvrar_bench.datatypes import DTYPES
from nvrar_bench.devices.cpu import CpuDevice
from nvrar_bench.measure.loop import Timings
from nvrar_bench.plan import Plan
from nvrar_bench.session.start import join_world
from nvrar_bench.verify import Problem, check

COUNT = 103


def main() -> None:
    world = join_world()
    device = CpuDevice(world, 10.0)
    gate = device.start_gate()
    backend = MpiBackend(world, device, 10.0)
    plan = Plan.build(
        dtypes=("all",), ops=("all",), counts=(COUNT,), placements=("out_of_place", "in_place")
    )
    problems, calls = [], 0
    for case in (case for case in plan if backend.unsupported(case) is None):
        problem = Problem(case.dtype, case.op, world.size, "exact", 5)
        send = problem.inputs(world.rank, COUNT)
        recv = send if case.placement == "in_place" else np.zeros_like(send)
        operation = backend.prepare(case, send, recv)

        def renew(send: Any = send, recv: Any = recv, inputs: Any = send.copy()) -> None:  # noqa: B008
            recv[:] = 0
            send[:] = inputs

        def timed(operation: Any = operation, renew: Any = renew) -> None:
            device.time_calls(operation, renew, gate, Timings.empty(1))

        assert operation.native
        for call in (operation.launch, timed):
            renew()
            call()
            result = check(recv, problem.expected(COUNT), COUNT, world.rank)
            calls += 1
            if result.wrong:
                problems.append(f"{case}: {result.first_wrong}")
    problems += errors(operation)
    everyone = world.comm.allgather(problems)
    if world.rank == 0:
        found = [problem for of_rank in everyone for problem in of_rank]
        json.dump({"calls": calls, "problems": found, "sizes": sizes()}, sys.stdout)


def errors(operation: Any) -> list[str]:
    """What is wrong with how a failed call is told."""
    from mpi4py import MPI

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
