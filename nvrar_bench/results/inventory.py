"""What a machine has, as `env` writes it: frozen dataclasses; fields are the keys of the JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from nvrar_bench.results.shapes import to_text

FORMAT = "nvrar-bench.env"
FORMAT_VERSION = "1.0"
Status = Literal["here", "missing", "wrong"]
STATUSES: tuple[Status, ...] = ("here", "missing", "wrong")


@dataclass(frozen=True)
class Row:
    """One thing that a run may need.

    Attributes:
        group: what it belongs to, such as `MPI`.
        name: what it is, such as `mpirun on PATH`.
        status: `wrong` is there, but cannot be used.
        version: of what was found; None if it has none, or is not there.
        path: where it was found.
        detail: what else is to be known of it.
        problem: what is missing or wrong; None if it is here.
        fix: what to do about that, such as a command to type.
        needed_for: devices (`cpu`, `cuda`), backends on one (`nvrar on cuda`), options.
    """

    group: str
    name: str
    status: Status
    version: str | None
    path: str | None
    detail: str | None
    problem: str | None
    fix: str | None
    needed_for: tuple[str, ...]

    @property
    def found(self) -> str:
        """Version, path and detail in one text; empty if nothing was found."""
        return ", ".join(filter(None, (self.version, self.detail, self.path)))


@dataclass(frozen=True)
class Ability:
    """Whether this machine can run a device, or a backend on it; `backend` None: the device."""

    device: str
    backend: str | None
    reason: str | None  # why it cannot; None if it can
    fix: str | None

    @property
    def can_run(self) -> bool:
        """True if nothing stands against it."""
        return self.reason is None

    @property
    def problem(self) -> str | None:
        """The reason and what fixes it, in one text."""
        return ": ".join(filter(None, (self.reason, self.fix))) or None


@dataclass(frozen=True)
class Inventory:
    """A machine: what is here, the settings that change results, and what can run."""

    version: str  # of nvrar-bench
    host: str
    taken_at: str  # ISO 8601, UTC
    rows: tuple[Row, ...]
    settings: dict[str, str]
    abilities: tuple[Ability, ...]

    @property
    def summary(self) -> dict[str, int]:
        """How many rows have each status."""
        counts = Counter(row.status for row in self.rows)
        return {status: counts[status] for status in STATUSES}

    def ability(self, device: str, backend: str | None = None) -> Ability:
        """What is said of a device, or of a backend on it."""
        return next(a for a in self.abilities if (a.device, a.backend) == (device, backend))

    def to_json(self) -> dict[str, Any]:
        """Return the document as plain dicts, lists, texts and numbers."""
        plain = json.loads(json.dumps(asdict(self)))  # lists of tuples
        plain["summary"] = self.summary
        for one, shown in zip(self.abilities, plain["abilities"], strict=True):
            shown["can_run"] = one.can_run
        return {"format": FORMAT, "format_version": FORMAT_VERSION, **plain}


def encode(inventory: Inventory) -> str:
    """Write an inventory as JSON text."""
    return to_text(inventory.to_json(), indent=1) + "\n"


def settled(abilities: Sequence[Ability]) -> tuple[Ability, ...]:
    """Let no backend run on a device that cannot: it has the device's reason then."""
    devices = {one.device: one for one in abilities if one.backend is None}
    return tuple(
        one
        if (device := devices[one.device]).can_run
        else Ability(one.device, one.backend, device.reason, device.fix)
        for one in abilities
    )
