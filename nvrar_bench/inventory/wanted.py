"""What is asked for by name, and whether this machine can run it."""

from __future__ import annotations

from collections.abc import Sequence

from nvrar_bench import backends, devices
from nvrar_bench.errors import Unavailable
from nvrar_bench.inventory.needs import group
from nvrar_bench.problem import Problem
from nvrar_bench.results.inventory import Inventory


def require(inventory: Inventory, device: str, wanted: Sequence[str]) -> None:
    """Refuse a device, or a backend on it, that this machine cannot run; as a run would.

    `auto` is cuda where it can run, else cpu, and is nothing that is asked for by name.

    Raises:
        Unavailable: with the reason.
    """
    chosen = device
    if device == "auto":
        chosen = "cuda" if inventory.ability("cuda").can_run else "cpu"
    problem = inventory.ability(chosen).problem
    if device != "auto" and problem:
        raise devices.unavailable(device, problem)
    for name in wanted:
        problem = inventory.ability(chosen, name).problem
        if problem:
            raise backends.unavailable(name, problem)


def require_network(inventory: Inventory, name: str) -> None:
    """Refuse a network that this machine lacks something for.

    Raises:
        Unavailable: with the first thing that is missing or wrong, and its fix.
    """
    for row in inventory.rows:
        if row.group == group(name) and row.status != "here":
            problem = row.problem or row.status
            told = Problem(problem, row.fix) if row.fix else problem
            raise Unavailable(f"--network {name}: {row.name}: {told}")
