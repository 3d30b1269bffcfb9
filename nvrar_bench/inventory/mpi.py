"""MPI: the library that mpi4py loads, its launchers and others, those of batch systems."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nvrar_bench.bounded import answer, first_line
from nvrar_bench.errors import Problem, Unavailable, problem_of
from nvrar_bench.inventory import Finding, Probe, loaded, missing
from nvrar_bench.inventory.system import module
from nvrar_bench.launch import flavours
from nvrar_bench.launch.environment import expected_ranks
from nvrar_bench.launch.environment import launcher as launcher_of
from nvrar_bench.launch.flavours import of_library

_ALL = ("cpu", "cuda")
_NAMES = ("mpirun", "mpiexec")
_ANSWER_S = 5.0  # srun asks its controller, which may be busy
_LAUNCHERS_S = 60.0  # each of several programs has a limit of its own
# Open MPI, MPICH, Intel MPI and MVAPICH; Cray MPICH; not mpi4py's own modules.
_LIBRARIES = r"lib(?:p?mpi|mpich|mpi_cray|mpi_gnu|mpi_nvidia|mpi_intel)"


def _library() -> Finding:
    version = flavours.library_version()
    return Finding(version=version.split(",")[0], path=loaded(_LIBRARIES))


def _ours() -> Finding:
    """The launcher that --ranks starts."""
    flavour, program = flavours.find()
    return Finding(version=flavour.name, path=program)


def _theirs() -> Finding:
    """The launcher that a user types."""
    flavour = of_library(flavours.library_version())
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        return missing("there is no mpirun on PATH", _remedy())
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
    return Finding(version=name, path=found, problem=Problem(what, _remedy()))


def _remedy() -> str:
    try:
        folder = Path(flavours.find()[1]).parent
    except Unavailable as error:
        return getattr(problem_of(error), "fix", "put the mpirun of that MPI first on PATH")
    return f"export PATH={folder}:$PATH, or let --ranks N start the ranks"


@dataclass(frozen=True)
class BatchSystem:
    """A launcher by its program; `choices` lists the MPIs that it can start, `pattern` one each."""

    program: str
    choices: tuple[str, ...] = ()
    pattern: str = ""

    def look(self) -> Finding | list[Finding]:
        """Its version and what it can start."""
        # Most machines have none of these, which is nothing to report.
        path = shutil.which(self.program)
        if path is None:
            return []
        version = first_line([path, "--version"], _ANSWER_S)
        if not version:
            what = f"{self.program} --version says nothing within {_ANSWER_S:g} s"
            problem = Problem(what, f"run {path} --version by hand, and ask the administrator")
            return Finding(path=path, problem=problem)
        return Finding(version=version, path=path, detail=self._offers(path))

    def _offers(self, path: str) -> str | None:
        if not self.choices:
            return None
        text = answer([path, *self.choices], _ANSWER_S)
        names = re.findall(self.pattern, text, re.MULTILINE)
        return f"{' '.join(self.choices)}: {', '.join(names) or 'nothing'}"


# srun prints a heading, then a name on each line, in later versions indented.
_SYSTEMS = (
    BatchSystem("srun", ("--mpi=list",), r"^(?:srun: )?\s*([a-z]\w*)$"),
    BatchSystem("flux"),
    BatchSystem("aprun"),
    BatchSystem("jsrun"),
)


def _started_by() -> Finding | list[Finding]:
    row = launcher_of(os.environ)
    return [Finding(version=row.name, detail=f"{expected_ranks(os.environ)} ranks")] if row else []


PROBES = (
    Probe("MPI", "mpi4py", _ALL, partial(module, "mpi4py", "mpi4py")),
    Probe("MPI", "MPI library", _ALL, _library, refused="missing"),
    Probe("MPI", "mpirun for --ranks", ("--ranks",), _ours, _LAUNCHERS_S, "missing"),
    Probe("MPI", "mpirun on PATH", ("mpirun -n N",), _theirs, _LAUNCHERS_S),
    *(Probe("launchers", one.program, (one.program,), one.look) for one in _SYSTEMS),
    Probe("launchers", "this process was started by", (), _started_by),
)
