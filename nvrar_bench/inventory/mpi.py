"""MPI: the library that mpi4py loads, and the launchers that belong to it or do not."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

from nvrar_bench.errors import Unavailable
from nvrar_bench.inventory.package import module
from nvrar_bench.inventory.probe import Finding, Probe, loaded, missing
from nvrar_bench.launch import flavours
from nvrar_bench.launch.flavours import of_library
from nvrar_bench.problem import Problem, told

_ALL = ("cpu", "cuda")
_NAMES = ("mpirun", "mpiexec")
_LAUNCHERS_S = 60.0  # each of several programs has a limit of its own
# Open MPI, MPICH, Intel MPI and MVAPICH; Cray MPICH; not mpi4py's own modules.
_LIBRARIES = r"lib(?:p?mpi|mpich|mpi_cray|mpi_gnu|mpi_nvidia|mpi_intel)"


def _library() -> Finding:
    try:
        version = flavours.library_version()
    except Unavailable as error:
        return missing(told(error))
    return Finding(version=version.split(",")[0], path=loaded(_LIBRARIES))


def _ours() -> Finding:
    """The launcher that --ranks starts."""
    try:
        flavour, program = flavours.find()
    except Unavailable as error:
        return missing(told(error))
    return Finding(version=flavour.name, path=program)


def _theirs() -> Finding:
    """The launcher that a user types."""
    flavour = of_library(flavours.library_version())
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        return missing(Problem("there is no mpirun on PATH", _remedy()))
    if flavour is None:
        return Finding(path=found, detail="of which MPI is not known")
    owner = flavours.flavour_of(found)
    if owner is flavour:
        return Finding(version=flavour.name, path=found)
    name = owner.name if owner else "an MPI that is not known"
    what = (
        f"it is of {name}, and mpi4py loads {flavour.name}: it would start ranks that are each "
        "alone"
    )
    return Finding("wrong", version=name, path=found, problem=Problem(what, _remedy()))


def _remedy() -> str:
    try:
        folder = Path(flavours.find()[1]).parent
    except Unavailable as error:
        return getattr(told(error), "fix", "put the mpirun of that MPI first on PATH")
    return f"export PATH={folder}:$PATH, or let --ranks N start the ranks"


PROBES = (
    Probe("MPI", "mpi4py", _ALL, partial(module, "mpi4py", "mpi4py")),
    Probe("MPI", "MPI library", _ALL, _library),
    Probe("MPI", "mpirun for --ranks", ("--ranks",), _ours, _LAUNCHERS_S),
    Probe("MPI", "mpirun on PATH", ("mpirun -n N",), _theirs, _LAUNCHERS_S),
)
