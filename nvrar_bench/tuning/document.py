"""What a tuning table says: frozen dataclasses whose fields are the keys of its JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from nvrar_bench.backends.nvrar.tuning import MadeFor
from nvrar_bench.results.writer import encode_lines

FORMAT = "nvrar-bench.tuning"
FORMAT_VERSION = "1.0"
Status = Literal["complete", "interrupted"]
STATUSES: tuple[Status, ...] = ("complete", "interrupted")
ENDINGS = ("winner", "alike", "max_samples", "max_time")


@dataclass(frozen=True)
class MadeOn:
    """What the table was made on; versions of libraries by name."""

    processor: str
    hosts: tuple[str, ...]
    kernels_sha256: str
    libraries: Mapping[str, str]


@dataclass(frozen=True)
class Measured:
    """A median with its 95 % interval, microseconds; of samples that decided nothing but this."""

    median_us: float
    ci95_low_us: float | None
    ci95_high_us: float | None


@dataclass(frozen=True)
class Choice:
    """The launch to use at one size.

    `is_auto` says that it is what `auto` chooses without a table, which `auto` holds the figures
    of, None where the device refuses that launch. Of `tried` launches `level` could not be told
    from the fastest when the search ended by `ended_by`; the device refused `refused` more.
    """

    dtype: str
    op: str
    buffers: str
    size_bytes: int
    protocol: str
    blocks: int
    threads: int
    chunk_bytes: int
    radix: int
    is_auto: bool
    measured: Measured
    auto: Measured | None
    tried: int
    level: int
    refused: int
    ended_by: str


@dataclass(frozen=True)
class Document:
    """A table: `made_for` must fit where it is used, `made_on` tells where it is from."""

    version: str
    made_at: str
    status: Status
    made_for: MadeFor
    made_on: MadeOn
    choices: tuple[Choice, ...] = ()

    def with_choice(self, choice: Choice) -> Document:
        """Add the choice at one more size."""
        return replace(self, choices=(*self.choices, choice))

    def complete(self) -> Document:
        """Say that no more will come."""
        return replace(self, status="complete")

    def to_json(self) -> dict[str, Any]:
        """Return the document as plain dicts, lists, texts and numbers."""
        plain = asdict(self)
        plain["made_on"]["hosts"] = list(self.made_on.hosts)
        plain["choices"] = list(plain["choices"])
        return {"format": FORMAT, "format_version": FORMAT_VERSION, **plain}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Document:
        """Make a document of what has passed the schema."""
        made_on = {**value["made_on"], "hosts": tuple(value["made_on"]["hosts"])}
        return cls(
            value["version"], value["made_at"], value["status"], MadeFor(**value["made_for"]),
            MadeOn(**made_on), tuple(map(_choice, value["choices"])),
        )  # fmt: skip


def _choice(value: Mapping[str, Any]) -> Choice:
    auto = value["auto"] and Measured(**value["auto"])
    return Choice(**{**value, "measured": Measured(**value["measured"]), "auto": auto})


def encode(document: Document) -> str:
    """Write a document as JSON text, one line per choice, to be read and diffed."""
    return encode_lines(document.to_json(), "the tuning table")
