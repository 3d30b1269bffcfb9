"""Memory that all ranks map, or a peer that may not: worker_shared_memory.py memory|refused."""

from __future__ import annotations

import ctypes
import errno
import json
import sys
from typing import Any

import numpy as np

from nvrar_bench.devices import sharing
from nvrar_bench.errors import NvrarBenchError
from nvrar_bench.run.as_rank import join_world
from nvrar_bench.world import World

NBYTES = 8192


def main() -> None:
    world = join_world()
    everyone = world.comm.allgather(WHAT[sys.argv[1]](world))
    if world.rank == 0:
        json.dump(everyone, sys.stdout)


def memory(world: World) -> list[list[int]]:
    """Each rank writes its number into every rank's bytes; what it then finds in its own."""
    blocks = [sharing.allocate(world.host_comm, NBYTES) for _ in range(2)]
    for number, block in enumerate(blocks):
        for address in block.addresses:
            there = np.frombuffer(bytes_at(address, NBYTES), np.uint8)
            there[world.rank] = 10 * number + world.rank + 1
    world.comm.Barrier()
    return [block.bytes()[: world.size + 1].tolist() for block in blocks]


def bytes_at(address: int, nbytes: int) -> Any:
    return (ctypes.c_uint8 * nbytes).from_address(address)


def refused(world: World) -> str:
    """Rank 1 may not open its peers' memory."""
    if world.rank == 1:
        sharing._map_one = refuse
    return error_of(lambda: sharing.allocate(world.host_comm, NBYTES))


def refuse(*_: object) -> None:
    raise PermissionError(errno.EACCES, "Permission denied")


def error_of(action: Any) -> str:
    try:
        action()
    except NvrarBenchError as error:
        return f"{type(error).__name__}: {error}"
    return "none"


WHAT = {"memory": memory, "refused": refused}

if __name__ == "__main__":
    main()
