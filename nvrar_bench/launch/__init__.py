"""Starting ranks, watching over them, and ending them without leaving anything behind.

    launcher      `--ranks N` and `--launcher CMD`: start ranks
    flavours      one row for each MPI: how to recognise it, what it needs, where its mpirun is
    repeat        `--launches N`: several launches, and one record of all
    launch_count  how many launches are wanted, and whether there are enough
    job           one run of a launcher: output, stopping, cleaning up
    again         starts Python on this very package, whatever the current folder holds
    environment   what the launcher says about this rank, and whether MPI agrees
    supervisor    the process between the launcher and a rank
    notices       what a rank and the supervisors of its host tell each other
    progress      how far each rank is, and which one the others wait for
    initialize    MPI_Init and MPI_Finalize that leave the other threads running
    console       where people read: what a launcher puts between a rank and the terminal
    processes     ties between a parent and its child, signals, how a process ended

Other packages import from here.
"""

from nvrar_bench.launch.environment import check_world, expected_ranks, launch_index, rank
from nvrar_bench.launch.initialize import (
    finalize_mpi,
    initialize_mpi,
    unlink_segments,
    unlink_world_segments,
)
from nvrar_bench.launch.launcher import start
from nvrar_bench.launch.progress import late_ranks
from nvrar_bench.launch.supervisor import supervise

__all__ = [
    "check_world",
    "expected_ranks",
    "finalize_mpi",
    "initialize_mpi",
    "late_ranks",
    "launch_index",
    "rank",
    "start",
    "supervise",
    "unlink_segments",
    "unlink_world_segments",
]
