"""The results of a run record: types whose fields are the keys of the JSON, one to one.

Times are microseconds and rates GB/s here, because a record is an edge: people and scripts read it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from nvrar_bench.datatypes import DTYPES, OPS
from nvrar_bench.documents import Count, JsonObject, Number, Positive, Us, says
from nvrar_bench.plan import Buffers

CheckStatus = Literal["passed", "failed", "skipped"]
Exchange = Literal["doubling", "halving", "one-shot"]
if TYPE_CHECKING:
    Dtype = str
    Op = str
else:  # the rows of tables, which mypy cannot read
    Dtype = Literal[tuple(DTYPES)]
    Op = Literal[tuple(OPS)]


Late = Annotated[
    tuple[Count, ...], says("indices of samples that a rank began late: not in the figures")
]


class Latency(JsonObject, frozen=True):
    """Statistics of the samples of one result, in microseconds."""

    median: Number
    ci95_low: Annotated[Us, says("null below 6 effective samples")]
    ci95_high: Annotated[Us, says("null below 6 effective samples")]
    mean: Number
    min: Number
    max: Number
    p95: Annotated[Us, says("null below n = 100")]
    p99: Annotated[Us, says("null below n = 100")]


class Independence(JsonObject, frozen=True):
    """How much samples that follow each other are worth; see docs/method.md.

    Null where there are too few samples.
    """

    effective_samples: Annotated[Number, says("number of independent samples that these are worth")]
    lag1: Annotated[float | None, says("autocorrelation at lag 1 of the side of the median")]
    drift: Annotated[
        float | None, says("of the first samples above the rest, as a part of the median")
    ]


class Launches(JsonObject, frozen=True):
    """Variation within launches of mpirun, and between them."""

    count: Annotated[Positive, says("of mpirun")]
    medians_us: Annotated[tuple[Number, ...], says("of each launch")]
    within_us: Annotated[Us, says("standard error of a launch's median, from its samples")]
    between_us: Annotated[Us, says("standard deviation of launches beyond that; null for 1")]


class Precision(JsonObject, frozen=True):
    """Half-width of the median's 95 % interval as a part of the median."""

    target: Annotated[Number | None, says("asked for; null where a number of samples was")]
    reached: Annotated[Number | None, says("null without an interval")]


class Arrival(JsonObject, frozen=True):
    """How late one rank began its calls, after the agreed start or after the first rank."""

    launch: Count
    rank: Count
    median_us: Number
    max_us: Number


class Stretch(JsonObject, frozen=True):
    """Consecutive samples between two readings of the yardstick, and the reading."""

    samples: Count
    flag_us: Annotated[Us, says("that a flag took to the last rank")]
    copy_us: Annotated[Us, says("that ranks took to copy 64 KiB that a peer had written")]
    work_us: Annotated[Us, says("that ranks took for fixed arithmetic, all at once")]


class State(JsonObject, frozen=True):
    """Medians of the yardstick's readings beside the samples that the figures are of."""

    flag_us: Us
    copy_us: Us
    work_us: Us
    left_out: Annotated[Count, says("samples in time of other states: not in the median")]


class LaunchShape(JsonObject, frozen=True):
    """How NVRAR was launched on each rank."""

    blocks: Annotated[Positive, says("of each rank")]
    threads: Annotated[Positive, says("of each block")]
    chunk_bytes: Annotated[Positive, says("of a slice, that a block handles at a time")]
    radix: Annotated[Positive, says("nodes that exchange directly in one step")]
    exchange: Annotated[
        Exchange,
        says("doubling: all of a slice in each step; halving: parts; one-shot: all, in one node"),
    ]
    tuned_at: Annotated[
        Count | None, says("size in the tuning table that this follows; null: none")
    ]


class FirstWrong(JsonObject, frozen=True):
    """The first wrong element; nan and infinities are texts, which JSON has no numbers for."""

    rank: Count
    index: Count
    expected: int | float | str  # of an integer type it stays the integer it is
    seen: int | float | str


class Check(JsonObject, frozen=True):
    """What the verifier found in the buffers that were timed."""

    status: CheckStatus
    mode: Annotated[Literal["exact", "rounding", "wrap", None], says("null: skipped")]
    elements: Annotated[Count, says("compared, over all ranks")]
    wrong: Annotated[Count, says("of those")]
    first_wrong: FirstWrong | None
    timed: Annotated[
        bool,
        says(
            "timed calls are among those whose output was compared; false in place, where the "
            "calls of a batch work on what those before have left"
        ),
    ]


class Result(JsonObject, frozen=True):
    """One backend at one case."""

    backend: str
    variant: Annotated[str, says("of the backend, such as its protocol; empty when it has none")]
    device: str
    buffers: Buffers
    dtype: Dtype
    op: Op
    placement: Literal["in_place", "out_of_place"]
    size_bytes: Annotated[Count, says("per rank")]
    count: Annotated[Count, says("elements per rank")]
    latency_us: Annotated[Latency, says("microseconds; a sample is the maximum over ranks")]
    samples: Annotated[Count, says("how many")]
    samples_us: Annotated[
        tuple[Number, ...], says("microseconds, in the order in which they were taken")
    ]
    launch_samples: Annotated[
        tuple[Count, ...], says("how many of them each launch took, in order")
    ]
    late: Late
    warmup: Annotated[Count, says("calls before the first sample")]
    stop_reason: Annotated[
        str,
        says(
            "iterations, precision, max_samples, max_time, unfinished; of tune: alike, slower, "
            "winner"
        ),
    ]
    precision: Annotated[Precision, says("of the median")]
    independence: Independence
    launches: Launches
    arrivals: Annotated[tuple[Arrival, ...], says("per launch and rank")]
    algbw_gb_per_s: Annotated[Number, says("size / median, 1e9 bytes per second")]
    busbw_gb_per_s: Annotated[Number, says("algbw x 2(n-1)/n for n ranks")]
    check: Check
    warnings: tuple[str, ...]
    stretches: Annotated[
        tuple[Stretch, ...], says("of samples_us, in order, between readings of the yardstick")
    ]
    state: Annotated[State, says("of the machine, that the figures are of")]
    shape: Annotated[LaunchShape | None, says("of NVRAR's launch; null for other backends")]
    batch: Annotated[Positive, says("calls of a sample, which is their time divided by so many")]
