"""Starting ranks, watching over them, and ending them without leaving anything behind.

    launcher      `--ranks N`: runs the mpirun that belongs to the MPI library
    again         starts Python on this very package, whatever the current folder holds
    flavours      one row for each MPI: how to recognise it, and what it needs
    home          HOME, which Open MPI does not start without
    environment   what the launcher says about this rank, and whether MPI agrees
    supervisor    the process between the launcher and a rank
    siblings      how the supervisors of one host talk to each other
    initialize    MPI_Init and MPI_Finalize that leave the other threads running
    progress      how far a rank is, for others to read
    census        which rank the others wait for
    notices       what they say
    hydra         leaving the launcher of MPICH and Intel MPI in peace
    banner        leaving out what a launcher adds to a rank's message
    signals       waiting for signals and file descriptors at once
    deaths        how a process ended, in words
    processes     ties between a parent and its child
    segments      shared memory that an MPI library would leave behind

Other packages import from here.
"""

from nvrar_bench.launch.census import late_ranks
from nvrar_bench.launch.environment import check_world, expected_ranks, launch_index, rank
from nvrar_bench.launch.initialize import finalize_mpi, initialize_mpi
from nvrar_bench.launch.launcher import start
from nvrar_bench.launch.segments import unlink_segments, unlink_world_segments
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
