"""What a table says of each result: a column each, and of two the speed-up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

from nvrar_bench.documents.result import Result
from nvrar_bench.report.grid import NOTHING, WRONG, Column
from nvrar_bench.statistics.median import Estimate, ratio
from nvrar_bench.units import (
    GIGABYTE,
    MICROSECOND,
    format_bandwidth,
    format_latency,
    format_ratio,
)

# The backend whose speed-up over the others is the question.
SUBJECT = "nvrar"
MOST_UNSURE = 999  # percent that are written; what is more is unsure in every digit


@dataclass(frozen=True)
class Field:
    """A column of each backend, and what its cells say."""

    column: Column
    cell: Callable[[Result], str]


def interval(result: Result) -> str:
    """Write the 95 % interval of the median, in microseconds."""
    return _span(estimate(result), lambda us: format_latency(us * MICROSECOND))


def estimate(result: Result) -> Estimate:
    """Return the median with its interval."""
    latency = result.latency_us
    return Estimate(latency.median, latency.ci95_low, latency.ci95_high)


def how_sure(found: Estimate) -> str:
    """Write half of the interval as a part of the figure, in whole percent, rounded up."""
    part = found.half_width
    if part is None:
        return "±?"
    percent = ceil(round(100 * part, 6))
    return f"±{percent}%" if percent <= MOST_UNSURE else f">{MOST_UNSURE}%"


def _span(found: Estimate, written: Callable[[float], str]) -> str:
    if found.low is None or found.high is None:
        return NOTHING
    return f"{written(found.low)}..{written(found.high)}"


TIME = Field(
    Column("time", "us"), lambda result: format_latency(result.latency_us.median * MICROSECOND)
)
SURE = Field(Column("", "±95%", gap=1, is_left=True), lambda result: how_sure(estimate(result)))
INTERVAL = Field(Column("95 % interval", "us"), interval)
WORTH = Field(Column("n eff"), lambda one: f"{one.independence.effective_samples:.0f}")
ALGBW = Field(
    Column("algbw", "GB/s"), lambda result: format_bandwidth(result.algbw_gb_per_s * GIGABYTE)
)
BUSBW = Field(
    Column("busbw", "GB/s"), lambda result: format_bandwidth(result.busbw_gb_per_s * GIGABYTE)
)


def variant_field(backend: str) -> Field:
    """Return the column that marks which variant ran."""
    title = "proto" if backend == SUBJECT else "variant"
    return Field(Column(title), lambda result: result.variant)


def speed_up(this: Result | None, other: Result | None) -> Estimate | None:
    """How many times faster `this` is; None where one is missing, wrong or took no time."""
    if this is None or other is None or "failed" in (this.check.status, other.check.status):
        return None
    if min(this.latency_us.median, other.latency_us.median) <= 0:
        return None
    return ratio(estimate(other), estimate(this))


def speed_up_columns(versus: str, wide: bool) -> tuple[Column, ...]:
    """Return the columns of a speed-up over the backend `versus`."""
    if wide:
        return Column("ratio"), Column("95 % interval")
    return Column("vs"), Column(versus, "±95%", gap=1, is_left=True)


def speed_up_cells(found: Estimate | None, wide: bool) -> tuple[str, str]:
    """Return the cells of a speed-up."""
    if found is None:
        return NOTHING, NOTHING
    sure = _span(found, format_ratio) if wide else how_sure(found)
    return format_ratio(found.value), sure


WRONG_COLUMN = Column(WRONG)


def wrong(results: Sequence[Result]) -> str:
    """Count wrong elements; nothing is known where some result was not checked."""
    count = sum(result.check.wrong for result in results)
    is_unchecked = any(result.check.status == "skipped" for result in results)
    return NOTHING if is_unchecked and not count else str(count)
