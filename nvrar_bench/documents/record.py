"""The run record: a type whose fields are the keys of the JSON, one to one.

A record never changes; a `with_` method returns the next one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Annotated, Any, Literal
from uuid import uuid4

from msgspec.structs import replace

from nvrar_bench.documents.base import Count, JsonObject, Positive, checked, says
from nvrar_bench.documents.result import Result
from nvrar_bench.documents.text import parse_json
from nvrar_bench.documents.versions import FORMAT, FORMAT_VERSION, of_another_version, upgraded
from nvrar_bench.errors import UsageError

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


class RunRecord(JsonObject, frozen=True):
    """A run: what was run, how, where, and what came of it."""

    format: Literal["nvrar-bench.run"]
    format_version: Literal["1.3"]
    run: Run
    settings: Annotated[dict[str, Any], says("every option as resolved")]
    topology: Topology
    environment: Annotated[dict[str, Any], says("allow-listed facts, never the whole environment")]
    results: tuple[Result, ...]
    skipped: tuple[Skipped, ...]
    errors: tuple[ErrorEntry, ...]

    @classmethod
    def begin(
        cls,
        *,
        command: Sequence[str],
        version: str,
        settings: Mapping[str, Any],
        topology: Topology,
        environment: Mapping[str, Any],
    ) -> RunRecord:
        """Start a record, now, with a new id.

        Its status is `interrupted` until `finished` says otherwise, so that the file that a
        killed run leaves behind is right.
        """
        run = Run(uuid4().hex, _now(), None, "interrupted", tuple(command), version)
        return cls(
            FORMAT, FORMAT_VERSION, run, dict(settings), topology, dict(environment), (), (), ()
        )

    @property
    def one_state(self) -> bool:
        """Whether medians are of samples that found the machine in one state; else of all."""
        return self.settings.get("one_state") is True

    def with_result(self, result: Result) -> RunRecord:
        """Add a result."""
        return replace(self, results=(*self.results, result))

    def with_environment(self, facts: Mapping[str, Any]) -> RunRecord:
        """Add facts about where the run ran."""
        return replace(self, environment={**self.environment, **facts})

    def with_skipped(self, backend: str, reason: str) -> RunRecord:
        """Add a backend that did not run; saying the same twice adds it once."""
        skipped = Skipped(backend, reason)
        return self if skipped in self.skipped else replace(self, skipped=(*self.skipped, skipped))

    def with_error(self, error: BaseException) -> RunRecord:
        """Add an error, by the name of its class and its message."""
        entry = ErrorEntry(type(error).__name__, str(error))
        return replace(self, errors=(*self.errors, entry))

    def finished(self, status: Status) -> RunRecord:
        """Close the record, now."""
        return replace(self, run=replace(self.run, status=status, finished_at=_now()))

    @classmethod
    def from_json(cls, source: bytes | str | Mapping[str, Any]) -> RunRecord:
        """Read a record: the bytes or the text of its JSON, or what `to_json` returned.

        Raises:
            UsageError: whatever is wrong with it; the message names the place.

        """
        try:
            value = upgraded(parse_json(source))
        # ValueError: not UTF-8, not JSON, NaN, endless digits. RecursionError: endless nesting.
        except (TypeError, ValueError, RecursionError) as error:
            raise UsageError(f"this is not the JSON of a run: {error}") from error
        other = of_another_version(value)
        if other is not None:
            raise UsageError(other)
        return checked(cls, value, f"this is not a {FORMAT} record")


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
