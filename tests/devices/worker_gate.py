"""The start gates of a device: worker_gate.py passes|stopped."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from dataclasses import replace
from typing import Any

import numpy as np

from nvrar_bench.devices import sharing
from nvrar_bench.devices.cpu import CpuDevice
from nvrar_bench.devices.gate import open_gate
from nvrar_bench.errors import TimedOut
from nvrar_bench.run.as_rank import join_world
from nvrar_bench.timing.clocks import Clocks, relate
from nvrar_bench.timing.loop import MONOTONIC, Gate, Timings
from nvrar_bench.world import World

ROUNDS, MPI_ROUNDS = 60, 20  # MPI polls without a pause, whoever else needs the core
SECOND = 10**9
PATIENCE_S = 60.0  # with ranks that all come, on a busy machine


class Nothing:
    """An operation that does nothing on the machine's clock."""

    variant, warnings, stream_ordered, clock = "nothing", (), False, staticmethod(MONOTONIC)
    native = None

    def launch(self) -> None:
        pass


def passes(world: World) -> dict[str, Any]:
    """Rounds of each gate: when the ranks left, and whether one left before the last had come."""
    device = CpuDevice(world, PATIENCE_S)
    several = CpuDevice(replace(world, machine_of=tuple(range(world.size))), PATIENCE_S)
    skewed = skewed_clock(world)
    clocks = relate(world.comm, several.world.machine_of, skewed)
    gate = device.start_gate("clock")
    return {
        "clock": rounds(world, gate, MONOTONIC, None),
        "barrier": rounds(world, device.start_gate("barrier"), MONOTONIC, None),
        "asleep barrier": rounds(
            world, open_gate(world, PATIENCE_S, 0, "barrier"), MONOTONIC, None
        ),
        "mpi clock": rounds(world, several.start_gate("clock", clocks), skewed, clocks),
        "mpi barrier": rounds(world, several.start_gate("barrier"), MONOTONIC, None),
        "auto": device.start_gate().facts(),
        "timed": timed(device, gate),
        "yardstick": yardstick(device, gate),
    }


def skewed_clock(world: World) -> Any:
    """2 s further ahead on each rank, and 20 ppm faster."""
    base, rank = world.comm.bcast(MONOTONIC()), world.rank
    return lambda: (now := MONOTONIC()) + 2 * SECOND * rank + (now - base) * 20 * rank // 10**6


def rounds(world: World, gate: Gate, clock: Any, clocks: Clocks | None) -> dict[str, Any]:
    came = sharing.allocate(world.host_comm, 4096)
    numbers = [
        np.frombuffer((ctypes.c_uint8 * 8).from_address(a), np.uint64) for a in came.addresses
    ]
    agreed, behind, early = [], 0, 0
    for number in range(1, (MPI_ROUNDS if gate.through == "MPI" else ROUNDS) + 1):
        if number % 10 == 0 and world.rank == number // 10 % world.size:
            time.sleep(0.01)
        numbers[world.rank][0] = number
        gate()
        now = clock()
        behind += sum(int(seen[0]) < number for seen in numbers)
        early += now < gate.agreed_ns
        agreed.append(gate.agreed_ns)
    world.comm.Barrier()
    common = clocks.to_common(np.array(agreed)).tolist() if clocks else agreed
    return {
        "mode": gate.mode, "facts": gate.facts(), "behind": behind, "early": early,
        "agreed": common, "leaving": gate.leaving_ns,
    }  # fmt: skip


def yardstick(device: CpuDevice, gate: Gate) -> list[Any]:
    """What it says; whether it is absent where it must be; the lead before and after."""
    barrier = device.start_gate("barrier")
    lead = gate.facts()["lead_us"]
    yardstick = device.yardstick(gate)
    assert yardstick is not None
    found = [yardstick.read(passes).tolist() for passes in (1, 4, 25)]
    several = CpuDevice(
        replace(device.world, machine_of=tuple(range(device.world.size))), PATIENCE_S
    )
    absent = device.yardstick(barrier) is None and several.yardstick(gate) is None
    return [found, absent, lead, gate.facts()["lead_us"]]


def timed(device: CpuDevice, gate: Gate) -> list[list[int]]:
    """Agreed times and lateness of calls."""
    timings = Timings.empty(5)
    device.timer.time_calls(Nothing(), lambda: None, gate, timings)
    return [timings.agreed.tolist(), timings.lateness().tolist()]


def stopped(world: World) -> list[str]:
    """In both modes."""
    return [stopped_once(world, CpuDevice(world, 4.0).start_gate(m)) for m in ("clock", "barrier")]


def stopped_once(world: World, gate: Gate) -> str:
    """The last rank stops itself before the gate, and goes on when rank 0 has given up."""
    late = world.comm.bcast(os.getpid(), root=world.size - 1)
    gate()
    if os.getpid() == late:
        os.kill(late, signal.SIGSTOP)
    try:
        gate()
        return "passed"
    except TimedOut as error:
        return str(error)
    finally:
        if world.rank == 0:
            os.kill(late, signal.SIGCONT)


def main() -> None:
    world = join_world()
    everyone = world.comm.allgather({"passes": passes, "stopped": stopped}[sys.argv[1]](world))
    if world.rank == 0:
        json.dump(everyone, sys.stdout)


if __name__ == "__main__":
    main()
