"""The tuning table that `tune` writes and `auto` reads: see docs/tuning.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal

from msgspec import Meta
from msgspec.structs import replace

from nvrar_bench import __version__
from nvrar_bench.documents import Count, JsonObject, Number, Positive, Us, checked, says
from nvrar_bench.documents.files import encode_lines, parsed
from nvrar_bench.documents.result import Dtype, Exchange, Op
from nvrar_bench.errors import UsageError
from nvrar_bench.plan import Buffers

FORMAT: Final = "nvrar-bench.tuning"
FORMAT_VERSION: Final = "1.1"
OLDER = "1.0"  # had no exchange, and did not say what is between machines
TunedProtocol = Literal["signal", "packet"]
Ending = Literal["winner", "alike", "max_samples", "max_time"]


class MadeFor(JsonObject, frozen=True):
    """What must fit where the table is used: made for one, it is refused by another."""

    device: Annotated[str, says("cpu or cuda")]
    arch: Annotated[str, says("of the GPUs, such as sm_90, or of the CPUs")]
    fabric: Annotated[str, says("host, nvshmem or loopback")]
    nodes: Positive
    ranks_per_node: Positive
    virtual_nodes: Annotated[bool, says("the nodes share one machine")]
    ranks_per_device: Annotated[Positive, says("more than 1 where GPUs are shared")]

    def differences(self, here: MadeFor) -> Iterator[str]:
        """Name what differs, and both values."""
        for key in self.__struct_fields__:
            there, mine = getattr(self, key), getattr(here, key)
            if there != mine:
                yield f"{key} {_word(there)} there, {_word(mine)} here"


def _word(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


class MadeOn(JsonObject, frozen=True):
    """What the table was made on."""

    processor: Annotated[str, says("model of the GPU, or of the CPU")]
    hosts: tuple[str, ...]
    kernels_sha256: Annotated[str, says("of the kernel sources, names and contents")]
    libraries: Annotated[dict[str, Any], says("versions by name")]
    between_machines: Annotated[
        str | None,
        says("adapters and interfaces in use; null on one machine, or where none is seen"),
    ]


class TunedMedian(JsonObject, frozen=True):
    """A median, of samples that decided nothing but this."""

    median_us: Annotated[Number, says("microseconds; a sample is the maximum over ranks")]
    ci95_low_us: Annotated[Us, says("of the median; null below 6 effective samples")]
    ci95_high_us: Annotated[Us, says("of the median; null below 6 effective samples")]


class Choice(JsonObject, frozen=True):
    """The launch to use at one size."""

    dtype: Dtype
    op: Op
    buffers: Buffers
    size_bytes: Annotated[Positive, says("per rank")]
    protocol: TunedProtocol
    blocks: Annotated[Positive, says("of each rank")]
    threads: Annotated[Positive, says("of each block")]
    chunk_bytes: Annotated[Positive, says("of a slice, that a block handles at a time")]
    radix: Annotated[int, Meta(ge=2, le=64, description="nodes that exchange in one step")]
    exchange: Annotated[Exchange, says("all of a slice in each step, or parts; doubling in 1.0")]
    is_auto: Annotated[bool, says("it is what auto chooses without a table")]
    measured: Annotated[TunedMedian, says("of the choice")]
    auto: Annotated[
        TunedMedian | None,
        says("of what auto chooses without a table; null where the device refuses it"),
    ]
    tried: Annotated[Positive, says("launches that were measured")]
    level: Annotated[Positive, says("of those, that could not be told from the fastest")]
    refused: Annotated[Count, says("launches that the device refused")]
    ended_by: Annotated[Ending, says("what ended the search")]


class TuningDocument(JsonObject, frozen=True):
    """A table: the choice at each size, and where it holds."""

    format: Literal["nvrar-bench.tuning"]
    format_version: Literal["1.1"]
    version: Annotated[str, says("of nvrar-bench")]
    made_at: Annotated[str, says("ISO 8601, UTC")]
    status: Annotated[Literal["complete", "interrupted"], says("interrupted: sizes may be missing")]
    made_for: MadeFor
    made_on: MadeOn
    choices: tuple[Choice, ...]

    @classmethod
    def begin(cls, made_at: str, made_for: MadeFor, made_on: MadeOn) -> TuningDocument:
        """Start a table, which is `interrupted` until it is complete."""
        return cls(
            FORMAT, FORMAT_VERSION, __version__, made_at, "interrupted", made_for, made_on, ()
        )

    def with_choice(self, choice: Choice) -> TuningDocument:
        """Add the choice at one more size."""
        return replace(self, choices=(*self.choices, choice))

    def complete(self) -> TuningDocument:
        """Say that no more will come."""
        return replace(self, status="complete")

    @classmethod
    def from_json(cls, content: bytes | Mapping[str, Any], source: str) -> TuningDocument:
        """Read a table: its JSON, or what `to_json` returned; `source` is how messages call it.

        UsageError: it is no table, or has two choices for one size.
        """
        value = parsed(content, f"{source} is not the JSON of a tuning table")
        _require_version(value, source)
        document = checked(cls, _upgraded(value), f"{source} is not a {FORMAT} table")
        keys = [(one.dtype, one.op, one.buffers, one.size_bytes) for one in document.choices]
        for key in keys:
            if keys.count(key) > 1:
                raise UsageError(f"{source}: two choices for {' '.join(map(str, key))} bytes")
        return document


def _require_version(value: Any, source: str) -> None:
    version = value.get("format_version") if isinstance(value, dict) else None
    if version not in (None, OLDER, FORMAT_VERSION) and value.get("format") == FORMAT:
        raise UsageError(
            f"{source} is a table of format_version {version!r}, written by nvrar-bench "
            f"{value.get('version')}; allowed: {OLDER} and {FORMAT_VERSION}, of this nvrar-bench "
            f"{__version__}: use the one that wrote it, or tune again"
        )


def _upgraded(value: Any) -> Any:
    """Return a table of today's format; what is no older table, as it is."""
    if not (isinstance(value, dict) and value.get("format_version") == OLDER):
        return value
    # Tables of 1.0 are of doubling, the only exchange that there was.
    choices = value.get("choices")
    if isinstance(choices, list):
        choices = [
            {"exchange": "doubling", **one} if isinstance(one, dict) else one for one in choices
        ]
    made_on = value.get("made_on")
    if isinstance(made_on, dict):
        made_on = {"between_machines": None, **made_on}
    return {**value, "format_version": FORMAT_VERSION, "made_on": made_on, "choices": choices}


def encode(document: TuningDocument) -> str:
    """Write a table as JSON text, one line per choice, to be read and diffed."""
    return encode_lines(document.to_json(), "the tuning table")
