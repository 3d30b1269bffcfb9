"""The run record: a type whose fields are the keys of the JSON, one to one.

A record never changes; a `with_` method returns the next one. Records of earlier formats get what
they lack when they are read; others are refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar
from uuid import uuid4

from msgspec.structs import replace

from nvrar_bench import __version__
from nvrar_bench.documents import Count, JsonObject, Positive, checked, says
from nvrar_bench.documents.files import parsed
from nvrar_bench.documents.result import Result
from nvrar_bench.errors import UsageError

FORMAT: Final = "nvrar-bench.run"
FORMAT_VERSION: Final = "1.4"
DECODE_FORMAT: Final = "nvrar-bench.decode"
NO_JSON = "this is not the JSON of a run, as sweep --json writes it"
OLDER = ("1.0", "1.1", "1.2", "1.3")
Status = Literal["complete", "failed", "interrupted"]


class Run(JsonObject, frozen=True):
    """When and how the run was started, and how it ended."""

    id: Annotated[str, says("unique to this run")]
    started_at: Annotated[str, says("ISO 8601, UTC")]
    finished_at: Annotated[str | None, says("ISO 8601, UTC; null while the run goes on")]
    status: Annotated[Status, says("interrupted also while the run goes on")]
    command: Annotated[tuple[str, ...], says("the arguments, as given")]
    version: Annotated[str, says("of nvrar-bench")]


class RankPlace(JsonObject, frozen=True):
    """Where one rank ran."""

    rank: Count
    host: str
    node: Annotated[Count, says("index of the node, virtual or real")]
    local_rank: Annotated[Count, says("index of the rank in its node")]
    device: str | None


class Topology(JsonObject, frozen=True):
    """The shape of the machine as the run saw it."""

    ranks: Positive
    nodes: Positive
    ranks_per_node: Positive
    virtual_nodes: Annotated[bool, says("the nodes share one machine")]
    placement: tuple[RankPlace, ...]


class Skipped(JsonObject, frozen=True):
    """A backend, or a part of what it was asked for, that did not run, and why."""

    backend: str
    reason: str


class ErrorEntry(JsonObject, frozen=True):
    """An error that ended the run, or a case of it."""

    type: Annotated[str, says("name of the error class")]
    message: str


_Self = TypeVar("_Self", bound="Record")


class Record(JsonObject, frozen=True):
    """What the records of all commands that run ranks have in common.

    `FORMAT` and `VERSION` are what a new one begins with.
    """

    FORMAT: ClassVar[str]
    VERSION: ClassVar[str]

    format: str
    format_version: str
    run: Run
    settings: Annotated[dict[str, Any], says("every option as resolved")]
    topology: Topology
    environment: Annotated[dict[str, Any], says("allow-listed facts, never the whole environment")]
    results: tuple[Any, ...]
    skipped: tuple[Skipped, ...]
    errors: tuple[ErrorEntry, ...]

    @classmethod
    def from_json(cls: type[_Self], source: bytes | str | Mapping[str, Any]) -> _Self:
        """Read a record: the bytes or text of its JSON, or what `to_json` returned; as `of`."""
        return cls.of(parsed(source, NO_JSON))

    @classmethod
    def of(cls: type[_Self], value: Any) -> _Self:
        """Make a record of parsed JSON. UsageError: it is none; the message names the place."""
        return checked(cls, value, f"this is not a {cls.FORMAT} record")

    @classmethod
    def begin(
        cls: type[_Self],
        *,
        command: Sequence[str],
        version: str,
        settings: Mapping[str, Any],
        topology: Topology,
        environment: Mapping[str, Any],
        **more: Any,
    ) -> _Self:
        """Start a record, now, with a new id; `more` is what only this kind has.

        Its status is `interrupted` until `finished` says otherwise, so that the file that a
        killed run leaves behind is right.
        """
        run = Run(uuid4().hex, _now(), None, "interrupted", tuple(command), version)
        how = dict(settings), topology, dict(environment)
        return cls(cls.FORMAT, cls.VERSION, run, *how, (), (), (), **more)

    def with_result(self: _Self, result: Any) -> _Self:
        """Add a result."""
        return replace(self, results=(*self.results, result))

    def with_environment(self: _Self, facts: Mapping[str, Any]) -> _Self:
        """Add facts about where the run ran."""
        return replace(self, environment={**self.environment, **facts})

    def with_skipped(self: _Self, backend: str, reason: str) -> _Self:
        """Add a backend that did not run; saying the same twice adds it once."""
        skipped = Skipped(backend, reason)
        return self if skipped in self.skipped else replace(self, skipped=(*self.skipped, skipped))

    def with_error(self: _Self, error: BaseException) -> _Self:
        """Add an error, by the name of its class and its message."""
        entry = ErrorEntry(type(error).__name__, str(error))
        return replace(self, errors=(*self.errors, entry))

    def finished(self: _Self, status: Status) -> _Self:
        """Close the record, now."""
        return replace(self, run=replace(self.run, status=status, finished_at=_now()))


class RunRecord(Record, frozen=True):
    """A run: what was run, how, where, and what came of it."""

    FORMAT, VERSION = FORMAT, FORMAT_VERSION

    format: Literal["nvrar-bench.run"]
    format_version: Literal["1.4"]
    results: tuple[Result, ...]

    @property
    def one_state(self) -> bool:
        """Whether medians are of samples that found the machine in one state; else of all."""
        return self.settings.get("one_state") is True

    @classmethod
    def of(cls, value: Any) -> RunRecord:
        value = upgraded(value)
        other = of_another_version(value)
        if other is not None:
            raise UsageError(other)
        return super().of(value)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


# 1.1 added launches, late samples, independence, precision, arrivals and the yardstick; 1.2 how
# NVRAR was launched; 1.3 how many calls a sample has, and whether timed calls were verified;
# 1.4 the exchange between nodes.
_GONE = ("yardstick_us",)  # of 1.1, before stretches
# What a part of a result without the key means: without batches, what was verified was timed.
_BEFORE: dict[str, dict[str, Any]] = {"shape": {"exchange": "doubling"}, "check": {"timed": True}}


def upgraded(value: Any) -> Any:
    """Return parsed JSON as a record of today's format; what is no older record, as it is."""
    if not (isinstance(value, dict) and value.get("format_version") in OLDER):
        return value
    results = value.get("results")
    if isinstance(results, list):
        results = [_upgraded(one) if isinstance(one, dict) else one for one in results]
    return {**value, "format_version": FORMAT_VERSION, "results": results}


def of_another_version(value: Any) -> str | None:
    """Say who wrote parsed JSON that is a record of a format unknown here; None where it is not."""
    if isinstance(value, dict) and value.get("format") == DECODE_FORMAT:
        return "this is a record of decode steps; allowed: a run record, as written by sweep --json"
    if not (isinstance(value, dict) and value.get("format") == FORMAT):
        return None
    version = value.get("format_version")
    if version is None or version == FORMAT_VERSION:
        return None
    run = value.get("run")
    writer = run.get("version") if isinstance(run, dict) else None
    return (
        f"this record has format_version {version!r}, written by nvrar-bench {writer}; allowed: "
        f"{', '.join(OLDER)} and {FORMAT_VERSION}, which this nvrar-bench "
        f"{__version__} reads: use the one that wrote it, or measure again"
    )


def _upgraded(result: dict[str, Any]) -> dict[str, Any]:
    known = {key: item for key, item in result.items() if key not in _GONE}
    found = known | {key: item for key, item in _meant(result).items() if key not in result}
    for key, before in _BEFORE.items():
        if isinstance(found.get(key), dict):
            found[key] = {**before, **found[key]}
    return found


def _meant(result: dict[str, Any]) -> dict[str, Any]:
    """What is meant where a key is missing: one launch of which nothing else was taken down."""
    samples, latency = result.get("samples"), result.get("latency_us")
    median = latency.get("median") if isinstance(latency, dict) else None
    return {
        "launch_samples": [samples],
        "late": [],
        "precision": {"target": None, "reached": None},
        "independence": {"effective_samples": samples, "lag1": None, "drift": None},
        "launches": {"count": 1, "medians_us": [median], "within_us": None, "between_us": None},
        "arrivals": [],
        "stretches": [],
        "state": {"flag_us": None, "copy_us": None, "work_us": None, "left_out": 0},
        "shape": None,
        "batch": 1,
    }
