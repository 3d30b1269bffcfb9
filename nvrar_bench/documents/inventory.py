"""What a machine has, as `env` writes it: types whose fields are the keys of the JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from nvrar_bench.documents import Count, JsonObject, says

FORMAT: Final = "nvrar-bench.env"
FORMAT_VERSION: Final = "1.0"
RowStatus = Literal["here", "missing", "wrong"]


class Row(JsonObject, frozen=True):
    """One thing that a run may need."""

    group: Annotated[str, says("what it belongs to, such as MPI")]
    name: Annotated[str, says("what it is, such as mpirun on PATH")]
    status: Annotated[RowStatus, says("wrong: it is there, and cannot be used")]
    version: str | None
    path: Annotated[str | None, says("where it was found")]
    detail: Annotated[str | None, says("what else is to be known of it")]
    problem: Annotated[str | None, says("what is missing or wrong; null if it is here")]
    fix: Annotated[str | None, says("what to do about that, such as a command to type")]
    needed_for: Annotated[
        tuple[str, ...], says("devices (cpu, cuda), backends on one (nvrar on cuda), options")
    ]

    @property
    def found(self) -> str:
        """Version, path and detail in one text; empty if nothing was found."""
        return ", ".join(filter(None, (self.version, self.detail, self.path)))


class Ability(JsonObject, frozen=True):
    """Whether this machine can run a device, or a backend on it."""

    device: str
    backend: Annotated[str | None, says("null: of the device itself")]
    reason: Annotated[str | None, says("why it cannot; null if it can")]
    fix: Annotated[str | None, says("what to do about that")]
    can_run: bool

    @classmethod
    def of(
        cls, device: str, backend: str | None, reason: str | None = None, fix: str | None = None
    ) -> Ability:
        """Say why a device, or a backend on it, cannot run; without a reason it can."""
        return cls(device, backend, reason, fix, reason is None)

    @property
    def problem(self) -> str | None:
        """The reason and what fixes it, in one text."""
        return ": ".join(filter(None, (self.reason, self.fix))) or None


class StatusCounts(JsonObject, frozen=True):
    """How many rows have each status."""

    here: Count
    missing: Count
    wrong: Count


class Inventory(JsonObject, frozen=True):
    """A machine: what is installed, the settings that change results, and what can run."""

    format: Literal["nvrar-bench.env"]
    format_version: Literal["1.0"]
    version: Annotated[str, says("of nvrar-bench")]
    host: str
    taken_at: Annotated[str, says("ISO 8601, UTC")]
    rows: tuple[Row, ...]
    settings: Annotated[dict[str, Any], says("allow-listed environment variables, text by name")]
    abilities: Annotated[tuple[Ability, ...], says("what this machine can run")]
    summary: Annotated[StatusCounts, says("rows of each status")]

    @classmethod
    def of(
        cls,
        version: str,
        host: str,
        taken_at: str,
        rows: tuple[Row, ...],
        settings: dict[str, str],
        abilities: tuple[Ability, ...],
    ) -> Inventory:
        """Make an inventory, and count its rows."""
        counts = Counter(row.status for row in rows)
        summary = StatusCounts(counts["here"], counts["missing"], counts["wrong"])
        return cls(
            FORMAT, FORMAT_VERSION, version, host, taken_at, rows, settings, abilities, summary
        )

    def ability(self, device: str, backend: str | None = None) -> Ability:
        """What is said of a device, or of a backend on it."""
        return next(a for a in self.abilities if (a.device, a.backend) == (device, backend))


def settled(abilities: Sequence[Ability]) -> tuple[Ability, ...]:
    """Let no backend run on a device that cannot: it has the device's reason then."""
    devices = {one.device: one for one in abilities if one.backend is None}
    return tuple(
        one
        if (device := devices[one.device]).can_run
        else Ability.of(one.device, one.backend, device.reason, device.fix)
        for one in abilities
    )
