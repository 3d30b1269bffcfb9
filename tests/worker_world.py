"""Ranks that find out who is there, agree and disagree."""

from __future__ import annotations

import json
import sys
from typing import Any

from nvrar_bench.errors import CompilerError, NvrarBenchError, UsageError
from nvrar_bench.run.as_rank import join_world
from nvrar_bench.world import World


def main() -> None:
    world = join_world()
    everyone = world.comm.allgather(
        {
            "placed": [[w.node, w.local_rank, w.ranks_per_node] for w in by_nodes(world)],
            "hosts": len(world.hosts) * len(set(world.hosts)),
            "machines": world.machines,
            "leader": leader(world),
            "agreement": agreement(world),
        }
    )
    if world.rank == 0:
        json.dump(everyone, sys.stdout)


def by_nodes(world: World) -> list[World]:
    return [world.with_nodes(n) for n in range(1, world.size + 1) if world.size % n == 0]


def leader(world: World) -> list[Any]:
    """What each rank gets of actions, and how many of them ran here."""
    ran = []

    def act(outcome: Any) -> Any:
        ran.append(outcome)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    outcomes = (None, {"path": "x"}, UsageError("no such thing"), CompilerError("none"), "last")
    got = [shown(lambda o=o: world.on_host_leader(lambda: act(o))) for o in outcomes]
    return [*got, len(ran)]


def agreement(world: World) -> list[Any]:
    rank = world.rank
    return [
        shown(lambda: world.require_agreement({"the version": "1.0", "sizes": [1, 2]})),
        shown(lambda: world.require_agreement({"the version": "1.0", "sizes": [1, rank // 5]})),
        shown(lambda: world.require_agreement({"the version": f"1.{rank}", "sizes": [rank]})),
    ]


def shown(action: Any) -> Any:
    try:
        return action()
    except NvrarBenchError as error:
        return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    main()
