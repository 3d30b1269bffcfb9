"""Clocks of ranks of one machine, moved and slowed as if they were of several: worker_clocks.py."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np

from nvrar_bench.run.as_rank import join_world
from nvrar_bench.timing.clocks import Clocks, relate
from nvrar_bench.world import World

SECOND = 10**9
OFFSETS_S = (3.0, -7.5, 11.0, 0.25)
DRIFTS_PPM = (10, -50, 50, 0)


class Skewed:
    """The machine's clock, `offset_ns` ahead, which gains `ppm` since `base_ns`."""

    def __init__(self, base_ns: int, offset_ns: int, ppm: int) -> None:
        self._base, self._offset, self._ppm = base_ns, offset_ns, ppm

    def at(self, true_ns: int) -> int:
        return true_ns + self._offset + (true_ns - self._base) * self._ppm // 10**6

    def __call__(self) -> int:
        return self.at(time.perf_counter_ns())


def clocks_of(world: World, offsets_s: tuple[float, ...], drifts_ppm: tuple[int, ...]) -> list:
    """What every rank's clock is, on every rank."""
    base = world.comm.bcast(time.perf_counter_ns())
    return [
        Skewed(base, int(offset * SECOND), ppm)
        for offset, ppm in zip(offsets_s, drifts_ppm, strict=True)
    ][: world.size]


def worst(clocks: Clocks, everyone: list, rank: int) -> dict[str, float]:
    """The largest error of conversions at some moments, beyond what was said; and what was said."""
    now = time.perf_counter_ns()
    beyond = []
    for true in (now - SECOND // 100, now, now + SECOND):
        own, first = everyone[rank].at(true), everyone[0].at(true)
        said = clocks.error_at(own) + 3  # roundings, the clocks' own among them
        beyond.append(abs(int(clocks.to_common(np.array([own]))[0]) - first) - said)
        beyond.append(abs(clocks.to_own(first) - own) - said * 1.001)
    return {"beyond": max(beyond), "said": clocks.error_ns}


def related(
    world: World, machine_of: tuple[int, ...], offsets_s: Any = OFFSETS_S, drifts: Any = DRIFTS_PPM
) -> dict[str, Any]:
    everyone = clocks_of(world, offsets_s, drifts)
    clocks = relate(world.comm, machine_of, everyone[world.rank])
    at_first = worst(clocks, everyone, world.rank)
    time.sleep(0.3)
    clocks.renew()
    renewed = worst(clocks, everyone, world.rank)
    return {
        "first": world.comm.allgather(at_first),
        "renewed": world.comm.allgather(renewed),
        "shared": world.comm.allgather(clocks.shared),
        "facts": clocks.facts(),
    }


def main() -> None:
    world = join_world()
    shared = relate(world.comm, (0,) * world.size)
    now = np.array([time.perf_counter_ns(), 5])
    same = bool((shared.to_common(now) == now).all()) and shared.to_own(17) == 17
    report = {
        "machine": {"facts": shared.facts(), "same": world.comm.allgather(same)},
        "machines": related(world, (0, 1, 2, 3)),
        "pairs": related(world, (0, 0, 1, 1), (3.0, 3.0, -7.5, -7.5), (10, 10, -50, -50)),
        "namespace": related(world, (0, 0, 0, 0), (1.0, 1.0, 9.0, 1.0), (0, 0, 0, 0)),
    }
    if world.rank == 0:
        json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
