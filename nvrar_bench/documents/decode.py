"""The record of decode steps: a type whose fields are the keys of the JSON, one to one."""

from __future__ import annotations

from typing import Annotated, Literal

from nvrar_bench.documents import Count, JsonObject, Number, Positive, says
from nvrar_bench.documents.record import DECODE_FORMAT, Record
from nvrar_bench.documents.result import (
    Arrival,
    Check,
    Dtype,
    Independence,
    Late,
    Latency,
    LaunchShape,
    Precision,
)

Compute = Literal["stream", "gemm", "none"]
WITHOUT = "work"  # the step without all-reduces, where it is named among backends


class ModelFacts(JsonObject, frozen=True):
    """The model, under the names of its config.json."""

    name: str
    hidden_size: Positive
    num_hidden_layers: Positive
    num_attention_heads: Positive
    num_key_value_heads: Positive
    head_dim: Positive
    intermediate_size: Positive
    vocab_size: Positive
    torch_dtype: Dtype
    bytes_per_weight: Number


class StepFacts(JsonObject, frozen=True):
    """What follows from the model and the ranks."""

    tensor_parallel: Annotated[Positive, says("ranks among which each layer is split")]
    all_reduces: Annotated[Positive, says("of a step")]
    layer_bytes: Annotated[Count, says("of weights that a rank reads in each layer")]
    head_bytes: Annotated[Count, says("of weights that a rank reads behind the last layer")]
    context: Annotated[Count, says("tokens of each sequence in the KV cache")]
    compute: Annotated[Compute, says("what the work between all-reduces is")]


class Figure(JsonObject, frozen=True):
    """A figure with its 95 % interval; null where there were too few samples."""

    value: float
    ci95_low: float | None
    ci95_high: float | None


class TimedStep(JsonObject, frozen=True):
    """Samples of a step, each the maximum over ranks, and their statistics; in microseconds."""

    latency_us: Latency
    samples: Annotated[Count, says("how many")]
    samples_us: Annotated[tuple[Number, ...], says("in the order in which they were taken")]
    late: Late
    warmup: Annotated[Count, says("steps before the first sample")]
    stop_reason: Annotated[str, says("iterations, precision, max_samples, max_time, unfinished")]
    precision: Annotated[Precision, says("of the median")]
    independence: Independence
    arrivals: Annotated[tuple[Arrival, ...], says("per rank")]
    warnings: tuple[str, ...]


class BackendStep(JsonObject, frozen=True):
    """The steps of one backend at one batch."""

    backend: str
    variant: Annotated[str, says("of the backend, such as its protocol; empty when it has none")]
    step: TimedStep
    all_reduce_us: Annotated[
        Figure | None,
        says("the step less the same step without all-reduces; null where that was not measured"),
    ]
    all_reduce_part: Annotated[Figure | None, says("the same as a part of the step")]
    tokens_per_s: Annotated[Figure, says("of the whole batch")]
    versus: Annotated[str | None, says("the backend of speed_up; null for that backend itself")]
    speed_up: Annotated[Figure | None, says("the step of `versus` over this one")]
    check: Check
    shape: Annotated[LaunchShape | None, says("of NVRAR's launch; null for other backends")]


class BatchResult(JsonObject, frozen=True):
    """All backends at one batch, measured in turns."""

    batch: Annotated[Positive, says("sequences, of one token each")]
    count: Annotated[Positive, says("elements of each all-reduce, per rank")]
    size_bytes: Annotated[Positive, says("of each all-reduce, per rank")]
    kv_bytes: Annotated[Count, says("of KV cache that a rank reads in each layer")]
    work: Annotated[
        TimedStep | None, says("the step without all-reduces; null where nothing is left of it")
    ]
    steps: tuple[BackendStep, ...]


class DecodeRecord(Record, frozen=True):
    """A run of `decode`: of which model, how, where, and what came of it."""

    FORMAT, VERSION = DECODE_FORMAT, "1.0"

    format: Literal["nvrar-bench.decode"]
    format_version: Literal["1.0"]
    results: tuple[BatchResult, ...]
    model: ModelFacts
    step: StepFacts
