"""A comparison of runs, as `compare` writes it: types whose fields are the keys of the JSON."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Final, Literal, get_args

from msgspec import Meta

from nvrar_bench.documents import Count, JsonObject, Number, Positive, Us, ZeroToOne, says
from nvrar_bench.units import format_size

FORMAT: Final = "nvrar-bench.comparison"
FORMAT_VERSION: Final = "1.1"
Verdict = Literal["slower", "faster", "same", "undecided", "wrong"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


class RunFacts(JsonObject, frozen=True):
    """Which run it is."""

    file: Annotated[str, says("as given")]
    id: Annotated[str, says("of the run")]
    started_at: Annotated[str, says("ISO 8601, UTC")]
    status: str
    version: Annotated[str, says("of nvrar-bench, that measured")]
    launches: Annotated[Count, says("of mpirun, at most, of a point")]


class RunMedian(JsonObject, frozen=True):
    """One run's figure at a point."""

    median_us: Annotated[Us, says("median of the launches' medians; null without samples")]
    low_us: Annotated[Us, says("of its 95 % interval; null without one")]
    high_us: Annotated[Us, says("of its 95 % interval; null without one")]
    samples: Annotated[Count, says("that count: without late ones")]
    launches: Annotated[Count, says("that are compared")]
    left_out: Annotated[
        Count,
        says(
            "samples in time that found the machine in another state; 0 unless one state was "
            "asked for"
        ),
    ]


class PointKey(JsonObject, frozen=True):
    """What tells the results of a run apart."""

    backend: str
    variant: str
    device: str
    buffers: str
    dtype: str
    op: str
    placement: str
    size_bytes: Annotated[Count, says("per rank")]
    count: Annotated[Count, says("elements per rank")]
    repeat: Annotated[Count, says("how often the run has had the same point before")]

    @property
    def series(self) -> str:
        """Backend and variant."""
        return f"{self.backend} {self.variant}".strip()

    @property
    def size(self) -> str:
        """Bytes per rank, and which time it is."""
        again = f" #{self.repeat + 1}" if self.repeat else ""
        return f"{format_size(self.size_bytes)}{again}"

    @property
    def group(self) -> str:
        """What the points of one table have in common."""
        placement = self.placement.replace("_", " ")
        return f"{self.dtype} {self.op}, {placement}, {self.buffers} buffers, {self.device}"

    def __str__(self) -> str:
        return f"{self.series} at {self.size} ({self.count} elements), {self.group}"


class ComparedPoint(PointKey, frozen=True):
    """A point that both runs have."""

    base: RunMedian
    new: RunMedian
    ratio: Annotated[
        Number | None, says("new / base; null where a result is wrong or has no interval")
    ]
    low: Annotated[Number | None, says("of the ratio's 95 % interval")]
    high: Annotated[Number | None, says("of the ratio's 95 % interval")]
    verdict: Verdict
    launches_needed: Annotated[
        Annotated[int, Meta(ge=2)] | None,
        says(
            "of each run, to decide what is undecided; null where it is decided, or launches "
            "cannot decide it"
        ),
    ]


class MissingPoint(PointKey, frozen=True):
    """A point that one of the two runs lacks."""

    missing_in: Literal["base", "new"]

    def __str__(self) -> str:
        return f"{super().__str__()}: not in {self.missing_in}"


class Difference(JsonObject, frozen=True):
    """A fact that differs, as texts."""

    fact: str
    base: str
    new: str

    def __str__(self) -> str:
        return f"{self.fact}: {self.base} -> {self.new}"


class VerdictCounts(JsonObject, frozen=True):
    """How many points there are, have each verdict, and are missing."""

    points: Count
    slower: Count
    faster: Count
    same: Count
    undecided: Count
    wrong: Count
    missing: Count

    @classmethod
    def of(
        cls, points: tuple[ComparedPoint, ...], missing: tuple[MissingPoint, ...]
    ) -> VerdictCounts:
        """Count them."""
        counts = Counter(point.verdict for point in points)
        # Also those that no point has: every key is there, whatever came out.
        verdicts = {verdict: counts[verdict] for verdict in VERDICTS}
        return cls(points=len(points), **verdicts, missing=len(missing))


class Comparison(JsonObject, frozen=True):
    """One run against the base."""

    new: RunFacts
    points: Annotated[tuple[ComparedPoint, ...], says("that both runs have")]
    missing: tuple[MissingPoint, ...]
    differences: Annotated[tuple[Difference, ...], says("facts that may differ, and do")]
    notes: tuple[str, ...]
    summary: VerdictCounts


class ComparisonDocument(JsonObject, frozen=True):
    """All runs against the base."""

    format: Literal["nvrar-bench.comparison"]
    format_version: Literal["1.1"]
    version: Annotated[str, says("of nvrar-bench, that compared")]
    threshold: Annotated[ZeroToOne, says("0.05 is 5 %")]
    launch_spread: Annotated[
        ZeroToOne, says("intervals are so much wider where a run has one launch")
    ]
    one_state: Annotated[bool, says("of samples that found the machine in one state")]
    confidence: Annotated[ZeroToOne, says("of all intervals")]
    replicates: Annotated[Positive, says("of the bootstrap")]
    seed: Annotated[Count, says("of the bootstrap")]
    base: RunFacts
    comparisons: Annotated[tuple[Comparison, ...], says("one per new run, in order")]
