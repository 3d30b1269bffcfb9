"""Kernels of CPU ranks: each machine builds them; one that cannot is given another's."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from pathlib import Path

from nvrar_bench.errors import CompilerError, TimedOut, Unavailable
from nvrar_bench.toolchain import host
from nvrar_bench.world import World


def load_all(
    world: World, sources: Sequence[host.Source], timeout: float = math.inf
) -> list[ctypes.CDLL]:
    """Build what the cache of each machine lacks, and load it. Collective.

    A machine without a compiler, or whose cache cannot be written, is given what the first machine
    with the same processor has built: the compiler's code is for the processor that it ran on.
    `timeout` bounds how long one machine waits for the others.

    Raises:
        TimedOut: another machine took longer.
        CompilerError, Unavailable: a machine cannot build, nor can one like it; on every rank.
    """
    try:
        paths = world.on_host_leader(lambda: host.build_all(sources))
    except (CompilerError, Unavailable) as error:
        if world.machines == 1:
            raise
        _await_others(world, timeout)
        return _given(world, error, [])
    if world.machines > 1:
        _await_others(world, timeout)
        _given(world, None, paths)
    return [host.load(path) for path in paths]


def _await_others(world: World, timeout: float) -> None:
    if not world.is_complete_within(timeout):
        raise TimedOut(
            f"rank {world.rank} on host {world.host} waited {timeout:g} s for the kernels of "
            "other machines: one has no rank that goes on, or compiles for longer (--timeout)"
        )


def _given(world: World, problem: Unavailable | None, paths: Sequence[Path]) -> list[ctypes.CDLL]:
    """Give the libraries at `paths` to the ranks that have a `problem`; load them there."""
    everyone = world.comm.allgather((host.processor(), problem))
    givers = _givers(everyone, world.hosts)
    loaded = []
    for giver in dict.fromkeys(givers.values()):
        ours = [path.read_bytes() for path in paths] if giver == world.rank else None
        libraries = world.comm.bcast(ours, root=giver)
        if givers.get(world.rank) == giver:
            loaded = [host.load_bytes(library) for library in libraries]
    return loaded


def _givers(
    everyone: Sequence[tuple[str, Unavailable | None]], hosts: Sequence[str]
) -> dict[int, int]:
    """Return who gives each rank that has a problem what it lacks."""
    found: dict[str, int] = {}
    for rank, (processor, problem) in enumerate(everyone):
        if problem is None:
            found.setdefault(processor, rank)
    lacking = [rank for rank, (_, problem) in enumerate(everyone) if problem]
    for rank in lacking:
        processor, problem = everyone[rank]
        if problem and processor not in found:
            where = f"rank {rank} on {hosts[rank]}: " if found else ""
            raise type(problem)(f"{where}{problem}")
    return {rank: found[everyone[rank][0]] for rank in lacking}
