"""What is installed, what is missing, and what fixes it: the facts of `env`.

    Probe       one thing to look for: a row of the inventory
    Question    a device, or a backend on it, that may run here: an ability of the inventory
    system, mpi, cuda, network
                the things to look for, and what a device needs
    survey      all of them, in a process of its own, which a broken library may take along

Everything is found without MPI_Init, a GPU or a driver.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nvrar_bench import backends, devices
from nvrar_bench.documents.inventory import Ability, Inventory, Row, RowStatus
from nvrar_bench.errors import NvrarBenchError, Problem, Unavailable, problem_of
from nvrar_bench.files import installed

STEP_S = 15.0
_BUILD_S = 30.0  # the first time, a start gate is compiled, which a run would do else
_MAPS = Path("/proc/self/maps")


@dataclass(frozen=True)
class Finding:
    """What came of looking; the fields are those of Row. What is here with a problem is wrong."""

    status: RowStatus = "here"
    version: str | None = None
    path: str | None = None
    detail: str | None = None
    problem: str | None = None
    name: str | None = None  # where one look finds several things

    def __post_init__(self) -> None:
        if self.problem and self.status == "here":
            object.__setattr__(self, "status", "wrong")


@dataclass(frozen=True)
class Probe:
    """A row to be: `look` fills it. If that raises, hangs or crashes, the row says so."""

    group: str
    name: str
    needed_for: tuple[str, ...]
    look: Callable[[], Finding | Sequence[Finding]]
    limit: float = STEP_S  # seconds
    refused: RowStatus = "wrong"  # where `look` raises an error of ours

    def take(self) -> list[Row]:
        """Look; one row, or one for each thing that is there."""
        try:
            found = self.look()
        except Exception as error:
            status = self.refused if isinstance(error, NvrarBenchError) else "wrong"
            found = Finding(status, problem=explained(error))
        return [self._row(one) for one in ([found] if isinstance(found, Finding) else found)]

    def failed(self, problem: str) -> Row:
        """The row of a look that came to nothing."""
        return self._row(Finding("wrong", problem=problem))

    def _row(self, found: Finding) -> Row:
        what, fix = parts(found.problem)
        seen = found.status, found.version, found.path, found.detail
        return Row(self.group, found.name or self.name, *seen, what, fix, self.needed_for)


@dataclass(frozen=True)
class Question:
    """An ability to be: `ask` says what stands against it, None if nothing does."""

    device: str
    backend: str | None
    ask: Callable[[], str | None]
    limit: float = _BUILD_S  # seconds

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.backend} on {self.device}" if self.backend else self.device

    def take(self) -> list[Ability]:
        """Ask; whatever is raised stands against it."""
        try:
            problem = self.ask()
        except Exception as error:
            problem = explained(error)
        return [self.failed(problem)]

    def failed(self, problem: str | None) -> Ability:
        """The ability with this against it."""
        return Ability.of(self.device, self.backend, *parts(problem))


def explained(error: Exception) -> str:
    """What an error says; a broken library raises all kinds."""
    if isinstance(error, NvrarBenchError):
        return problem_of(error)
    return f"{type(error).__name__}: {error}"


def parts(problem: str | None) -> tuple[str | None, str | None]:
    """A problem's two texts, each on one line."""
    texts = (problem.what, problem.fix) if isinstance(problem, Problem) else (problem, None)
    what, fix = (text and " ".join(text.split()) for text in texts)
    return what, fix


def missing(what: str, fix: str | None = None) -> Finding:
    """It is not here; `what` may be a Problem, which has a fix of its own."""
    return Finding("missing", problem=Problem(what, fix) if fix else what)


def wheel(name: str, install: str) -> Finding:
    """A package by its name; `install` installs it."""
    number = installed(name)
    return Finding(version=number) if number else missing("not installed", install)


def loaded(pattern: str) -> str | None:
    """Path of a library of this process whose file name begins with `pattern`; None if none."""
    found = re.search(rf"(/\S*/{pattern}[^\s/]*\.so\S*)$", _MAPS.read_text(), re.MULTILINE)
    return found.group(1) if found else None


def require(inventory: Inventory, device: str, wanted: Sequence[str]) -> None:
    """Refuse a device, or a backend on it, that this machine cannot run (Unavailable).

    `auto` is cuda where it can run, else cpu, and is nothing that is asked for by name.
    """
    chosen = device
    if device == "auto":
        chosen = "cuda" if inventory.ability("cuda").can_run else "cpu"
    problem = inventory.ability(chosen).problem
    if device != "auto" and problem:
        raise devices.unavailable(device, problem)
    for name in wanted:
        problem = inventory.ability(chosen, name).problem
        if problem:
            raise backends.unavailable(name, problem)


def group(name: str) -> str:
    """The title over the rows of a network."""
    return f"what --network {name} needs"


def require_network(inventory: Inventory, name: str) -> None:
    """Refuse a network that this machine lacks something for (Unavailable)."""
    for row in inventory.rows:
        if row.group == group(name) and row.status != "here":
            problem = row.problem or row.status
            said = Problem(problem, row.fix) if row.fix else problem
            raise Unavailable(f"--network {name}: {row.name}: {said}")
