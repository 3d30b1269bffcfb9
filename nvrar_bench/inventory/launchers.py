"""The launchers of batch systems; no row where a machine has none."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass

from nvrar_bench.inventory.probe import Finding, Probe
from nvrar_bench.launch.environment import expected_ranks
from nvrar_bench.launch.environment import launcher as launcher_of
from nvrar_bench.problem import Problem
from nvrar_bench.programs import answer, first_line

_ANSWER_S = 5.0  # srun asks its controller, which may be busy


@dataclass(frozen=True)
class BatchSystem:
    """A launcher by its program; `choices` lists the MPIs that it can start, `pattern` one each."""

    program: str
    choices: tuple[str, ...] = ()
    pattern: str = ""

    def look(self) -> Finding | list[Finding]:
        """Its version and what it can start."""
        path = shutil.which(self.program)
        if path is None:
            return []
        version = first_line([path, "--version"], _ANSWER_S)
        if not version:
            what = f"{self.program} --version says nothing within {_ANSWER_S:g} s"
            problem = Problem(what, f"run {path} --version by hand, and ask the administrator")
            return Finding("wrong", path=path, problem=problem)
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
    *(Probe("launchers", one.program, (one.program,), one.look) for one in _SYSTEMS),
    Probe("launchers", "this process was started by", (), _started_by),
)
