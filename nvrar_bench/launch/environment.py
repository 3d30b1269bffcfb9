"""What the launcher's environment variables say to a rank, and whether MPI saw the same.

A launcher that belongs to another MPI library starts N processes that each believe to be alone:
the benchmark then runs N times on one rank and looks healthy. The launcher's own variables give
this away, so a sweep compares them with the size of MPI_COMM_WORLD before it measures.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

from nvrar_bench.errors import NotOneJob

_BATCH_JOB = ("SLURM_JOB_ID", "SLURM_JOBID")
_NOBODYS = "/"  # what containers set for a user whom no database knows
LAUNCH = "NVRAR_BENCH_LAUNCH"  # set by --launches for each launch that it starts


@dataclass(frozen=True)
class Starter:
    """Who starts ranks: mpirun, with `ranks` of this machine, or the user's `command`."""

    ranks: int | None = None
    command: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.ranks is not None or bool(self.command)


@dataclass(frozen=True)
class Launcher:
    """One launcher: the variables that name a rank and the number of ranks."""

    name: str
    rank: str
    size: str
    local_size: str = ""  # ranks on this host, where the launcher says it in a plain number
    # All of these must be set as well. A Slurm batch script has SLURM_NTASKS and even SLURM_PROCID
    # without being a rank of anything; only a step of srun has the number of tasks of the step.
    needs: tuple[str, ...] = ()
    remedy: str = "use the mpirun of the MPI library that mpi4py loads, or --ranks {ranks}"


def _prefixed(name: str, prefix: str) -> Launcher:
    return Launcher(name, f"{prefix}_RANK", f"{prefix}_SIZE", f"{prefix}_LOCAL_SIZE")


# The first row that fits wins: mpirun inside an allocation sets its own variables beside those of
# the batch system, and several launchers also speak the PMI of MPICH.
LAUNCHERS = (
    _prefixed("mpirun of Open MPI", "OMPI_COMM_WORLD"),
    _prefixed("mpirun of MVAPICH", "MV2_COMM_WORLD"),
    Launcher(
        "mpiexec of Intel MPI", "PMI_RANK", "PMI_SIZE", "MPI_LOCALNRANKS", ("I_MPI_HYDRA_UUID",)
    ),
    Launcher("mpiexec of Cray PALS", "PALS_RANKID", "PMI_SIZE", "PMI_LOCAL_SIZE", ("PALS_APID",)),
    Launcher("flux run", "FLUX_TASK_RANK", "FLUX_JOB_SIZE"),
    _prefixed("jsrun", "JSM_NAMESPACE"),
    Launcher("mpiexec of MPICH", "PMI_RANK", "PMI_SIZE", "MPI_LOCALNRANKS"),
    Launcher("mpiexec of MPICH", "MPI_LOCALRANKID", "MPI_LOCALNRANKS", "MPI_LOCALNRANKS"),
    Launcher(
        "srun",
        "SLURM_PROCID",
        "SLURM_STEP_NUM_TASKS",
        needs=("SLURM_STEP_ID",),
        remedy="add the --mpi option that fits the MPI library (`srun --mpi=list` names what Slurm "
        "has), or use the library's own mpirun",
    ),
)


def _number(environ: Mapping[str, str], name: str) -> int | None:
    text = environ.get(name, "")
    return int(text) if text.isdecimal() else None


def launcher(environ: Mapping[str, str]) -> Launcher | None:
    """Return the launcher whose variables `environ` holds, or None for a process started alone."""
    for row in LAUNCHERS:
        known = _number(environ, row.rank) is not None and _number(environ, row.size) is not None
        if known and all(name in environ for name in row.needs):
            return row
    return None


def expected_ranks(environ: Mapping[str, str]) -> int | None:
    """Return how many ranks the launcher started; None where no launcher did."""
    row = launcher(environ)
    return _number(environ, row.size) if row else None


def local_ranks(environ: Mapping[str, str]) -> int | None:
    """Return how many ranks the launcher started on this host; None where it does not say."""
    row = launcher(environ)
    return _number(environ, row.local_size) if row else 1


def batch_hint(environ: Mapping[str, str]) -> str:
    """Say how a failed launcher's trouble may come from variables of a batch job; "" without."""
    name = next((name for name in _BATCH_JOB if name in environ), None)
    if name is None:
        return ""
    return (
        f"; {name}={environ[name]} has it start ranks by srun, on the nodes of that Slurm job: if "
        "the variables are another job's, type `unset ${!SLURM_*}` in bash"
    )


def launch_index(environ: Mapping[str, str]) -> int:
    """Which of several launches of mpirun this is, from 0, as `--launches` says."""
    text = environ.get(LAUNCH, "0")
    return int(text) if text.isascii() and text.isdigit() else 0


def rank(environ: Mapping[str, str]) -> int:
    """Return this process's rank as the launcher counts, before MPI is there; 0 when alone."""
    row = launcher(environ)
    return (_number(environ, row.rank) or 0) if row else 0


def check_world(world_size: int, environ: Mapping[str, str], library: str = "MPI") -> None:
    """Raise NotOneJob where the launcher started more ranks than MPI_COMM_WORLD has.

    `library` names the MPI library for the message, such as "Open MPI 5.0.11".
    """
    row = launcher(environ)
    ranks = expected_ranks(environ)
    if row is None or ranks is None or world_size >= ranks:
        return
    raise NotOneJob(
        f"{row.name} started {ranks} ranks, but MPI_COMM_WORLD has {world_size}: {library}, which "
        f"mpi4py loads, does not belong to that launcher, so each rank would measure alone. "
        f"Remedy: {row.remedy.format(ranks=ranks)}"
    )


def provide_home(environ: MutableMapping[str, str]) -> None:
    """Set HOME where it is missing or empty, as login(1) does: the user database names it.

    systemd and `sbatch --export=NONE` start programs without one. Open MPI and its mpirun read a
    file of settings there, and end the process where nothing names a folder.
    """
    if environ.get("HOME"):
        return
    try:
        environ["HOME"] = pwd.getpwuid(os.getuid()).pw_dir or _NOBODYS
    except KeyError:
        environ["HOME"] = _NOBODYS
