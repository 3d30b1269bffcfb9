"""The run record: frozen dataclasses whose fields are the keys of the JSON, one to one.

A record never changes; a `with_` method returns the next one. Times are microseconds and rates
are GB/s here, because the record is an edge: people and scripts read it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import datetime, timezone
from functools import cache, partial
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints
from uuid import uuid4

from nvrar_bench.errors import UsageError
from nvrar_bench.results.older import of_another_version, upgraded
from nvrar_bench.results.schema import FORMAT, FORMAT_VERSION, first_problem
from nvrar_bench.results.shapes import parse_json

_Converter = Callable[[Any], Any]
Status = Literal["complete", "failed", "interrupted"]
CheckStatus = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True)
class Run:
    """When and how the run was started, and how it ended."""

    id: str
    started_at: str
    finished_at: str | None
    status: Status
    command: tuple[str, ...]
    version: str


@dataclass(frozen=True)
class RankPlace:
    """Where one rank ran."""

    rank: int
    host: str
    node: int
    local_rank: int
    device: str | None


@dataclass(frozen=True)
class Topology:
    """The shape of the machine as the run saw it."""

    ranks: int
    nodes: int
    ranks_per_node: int
    virtual_nodes: bool
    placement: tuple[RankPlace, ...]


@dataclass(frozen=True)
class Latency:
    """Statistics of the samples of one result, in microseconds."""

    median: float
    ci95_low: float | None
    ci95_high: float | None
    mean: float
    min: float
    max: float
    p95: float | None
    p99: float | None


@dataclass(frozen=True)
class Independence:
    """How far the samples of a result tell on their own; see docs/method.md.

    `effective_samples` is how many independent samples would tell as much of the median; `lag1` the
    autocorrelation at lag 1 of which side of the median a sample is on; `drift` how far the first
    samples lie above the rest, as a part of the median. None where there are too few samples.
    """

    effective_samples: float
    lag1: float | None
    drift: float | None


@dataclass(frozen=True)
class Launches:
    """Variation within launches of mpirun, and between them.

    `medians_us` holds the median of each launch. `within_us` is the standard error that a launch's
    median has for lack of samples, `between_us` the standard deviation of launches beyond that;
    None where they cannot be told.
    """

    count: int
    medians_us: tuple[float, ...]
    within_us: float | None
    between_us: float | None


@dataclass(frozen=True)
class Precision:
    """Half-width of the median's 95 % interval as a part of the median: asked for, and reached."""

    target: float | None
    reached: float | None


@dataclass(frozen=True)
class Arrival:
    """How late one rank began its calls, after the agreed time or after the first rank."""

    launch: int
    rank: int
    median_us: float
    max_us: float


@dataclass(frozen=True, slots=True)  # of many launches there are 100,000
class Stretch:
    """Samples between two readings of the yardstick, in order, and what it said.

    In microseconds: how long a flag took to the last rank, and all ranks together to copy 64 KiB
    that a peer had just written, and to do fixed arithmetic; None where unknown.
    """

    samples: int
    flag_us: float | None
    copy_us: float | None
    work_us: float | None


@dataclass(frozen=True)
class State:
    """What the yardstick said beside the samples that the median is of.

    Medians of their stretches; None where unknown. `left_out` counts samples, in time, that the
    median is not of because they found the machine in another state: 0 unless that was asked for.
    """

    flag_us: float | None
    copy_us: float | None
    work_us: float | None
    left_out: int


@dataclass(frozen=True)
class Shape:
    """How NVRAR was launched on each rank; sizes in bytes.

    `tuned_at` is the size in the tuning table that this follows; None where it follows none.
    """

    blocks: int
    threads: int
    chunk_bytes: int
    radix: int
    tuned_at: int | None


@dataclass(frozen=True)
class FirstWrong:
    """The first wrong element; nan and infinities are texts, which JSON has no numbers for."""

    rank: int
    index: int
    expected: float | str
    seen: float | str


@dataclass(frozen=True)
class Check:
    """What the verifier found in the buffers that were timed.

    `timed` is False where no timed call left what was compared: in place, the calls of a batch work
    on what those before have left, so calls of their own were verified, on the same buffers.
    """

    status: CheckStatus
    mode: Literal["exact", "rounding", "wrap"] | None
    elements: int
    wrong: int
    first_wrong: FirstWrong | None
    timed: bool = True


@dataclass(frozen=True)
class Result:
    """One backend at one case."""

    backend: str
    variant: str
    device: str
    buffers: Literal["symmetric", "private"]
    dtype: str
    op: str
    placement: Literal["in_place", "out_of_place"]
    size_bytes: int
    count: int
    latency_us: Latency
    samples: int
    samples_us: tuple[float, ...]
    launch_samples: tuple[int, ...]
    late: tuple[int, ...]
    warmup: int
    stop_reason: str
    precision: Precision
    independence: Independence
    launches: Launches
    arrivals: tuple[Arrival, ...]
    algbw_gb_per_s: float
    busbw_gb_per_s: float
    check: Check
    warnings: tuple[str, ...]
    stretches: tuple[Stretch, ...] = ()
    state: State = State(None, None, None, 0)
    shape: Shape | None = None
    batch: int = 1


@dataclass(frozen=True)
class Skipped:
    """A backend, or a part of what it was asked for, that did not run, and why."""

    backend: str
    reason: str


@dataclass(frozen=True)
class ErrorEntry:
    """An error that ended the run, or a case of it."""

    type: str
    message: str


@dataclass(frozen=True)
class RunRecord:
    """Everything a report may know about a run."""

    format: str
    format_version: str
    run: Run
    settings: Mapping[str, Any]
    topology: Topology
    environment: Mapping[str, Any]
    results: tuple[Result, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    errors: tuple[ErrorEntry, ...] = ()

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
        killed run leaves behind tells the truth.
        """
        run = Run(uuid4().hex, _now(), None, "interrupted", tuple(command), version)
        return cls(
            FORMAT, FORMAT_VERSION, run, dict(settings), topology, environment=dict(environment)
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

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain dicts, lists, texts and numbers."""
        plain: dict[str, Any] = _plain(self)
        return plain

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
        problem = first_problem(value)
        if problem is not None:
            raise UsageError(f"this is not a {FORMAT} record: {problem}")
        record: RunRecord = _build(cls, value)
        return record


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


@cache
def _converters(kind: Any) -> dict[str, _Converter]:
    """What makes each field of a dataclass."""
    return {name: _converter(hint) for name, hint in get_type_hints(kind).items()}


def _build(kind: Any, value: Any) -> Any:
    """Make a dataclass of a dict that has passed the schema."""
    converters = _converters(kind)
    return kind(**{key: converters[key](item) for key, item in value.items()})


@cache
def _converter(kind: Any) -> _Converter:
    """Return what makes a `kind` of what JSON has; there may be millions of them in a record."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _union_converter(arguments)
    if origin is tuple:
        return partial(_tuple_of, _converter(arguments[0]))
    if is_dataclass(kind):
        return partial(_build, kind)
    return kind if kind in (int, float) else _as_it_is


def _union_converter(kinds: tuple[Any, ...]) -> _Converter:
    """`X | None`, or `float | str`, where an integer stays the integer it is."""
    if NoneType not in kinds:
        return _as_it_is
    return partial(_unless_none, _converter(next(kind for kind in kinds if kind is not NoneType)))


def _tuple_of(convert: _Converter, items: Any) -> Any:
    return tuple(map(convert, items))


def _unless_none(convert: _Converter, value: Any) -> Any:
    return None if value is None else convert(value)


def _as_it_is(value: Any) -> Any:
    return value
