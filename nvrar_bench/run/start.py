"""The first thing ranks do together: MPI start-up, and making sure that they are one job."""

from __future__ import annotations

import os

from nvrar_bench import launch
from nvrar_bench.errors import NotOneJob
from nvrar_bench.launch.initialize import initialize_mpi
from nvrar_bench.world import World, join, library_version


def join_world() -> World:
    """Initialise MPI and find out who is here.

    Raises:
        Unavailable: mpi4py finds no MPI library.
        NotOneJob: the launcher started more ranks than MPI sees.
        UsageError: the machines run different numbers of ranks.
    """
    initialize_mpi()
    world = join()
    try:
        launch.check_world(world.size, os.environ, library_version())
    except NotOneJob:
        launch.unlink_segments()
        raise
    world.comm.Barrier()
    launch.unlink_world_segments(world.size)
    return world
