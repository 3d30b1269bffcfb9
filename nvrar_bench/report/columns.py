"""What a table is of and says: a series per backend, and a column for each of its figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil

from nvrar_bench.documents.decode import BackendStep
from nvrar_bench.documents.record import RunRecord
from nvrar_bench.documents.result import Result
from nvrar_bench.report.grid import NOTHING, WRONG, Column
from nvrar_bench.statistics.median import Estimate, median_of, ratio
from nvrar_bench.statistics.points import SUBJECT, point_of
from nvrar_bench.units import GIGABYTE, format_bandwidth, format_micros, format_ratio


@dataclass(frozen=True)
class Series:
    """The results of one backend: one block of columns, or one line.

    `variants` are those that ran: several where the backend chose by size. Where one size was
    measured in several variants, each is a series of its own.
    """

    backend: str
    variants: tuple[str, ...]

    @property
    def label(self) -> str:
        """Name the series as its heading does, in ASCII: it decides the width of columns."""
        if self.has_marks or self.variants == (self.backend,):
            return ascii_of(self.backend)
        return ascii_of(f"{self.backend} {self.variants[0]}".strip())

    @property
    def has_marks(self) -> bool:
        """Whether each result needs to say which variant it is."""
        return len(self.variants) > 1

    def holds(self, result: Result) -> bool:
        """Say whether `result` is of this series."""
        return result.backend == self.backend and result.variant in self.variants


def all_series(results: Sequence[Result]) -> list[Series]:
    """Return the series of a run's results, in the order in which they first come."""
    found = list[Series]()
    for backend in dict.fromkeys(result.backend for result in results):
        own = [result for result in results if result.backend == backend]
        variants = tuple(dict.fromkeys(result.variant for result in own))
        if _chose_by_size(own):
            found.append(Series(backend, variants))
        else:
            found += [Series(backend, (variant,)) for variant in variants]
    return found


def series_of(result: Result, among: Sequence[Series]) -> Series:
    """Return the series that `result` is of."""
    return next(series for series in among if series.holds(result))


def groups(record: RunRecord) -> Iterator[tuple[str, list[Result]]]:
    """Sort results by dtype, op, placement and buffers, and name what each group has in common."""
    found: dict[str, list[Result]] = {}
    for result in record.results:
        placement = result.placement.replace("_", " ")
        title = f"{result.dtype} {result.op}, {placement}, {result.buffers} buffers"
        found.setdefault(title, []).append(result)
    yield from found.items()


def ascii_of(text: str) -> str:
    """Write a name from somebody else's file as text of known width."""
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text)


def _chose_by_size(results: Sequence[Result]) -> bool:
    """Say whether no point was measured in several variants, as where they were asked for."""
    variants: dict[tuple[object, ...], set[str]] = {}
    for result in results:
        backend, variant, *where = point_of(result)
        variants.setdefault((backend, *where), set()).add(variant)
    return all(len(found) == 1 for found in variants.values())


MOST_UNSURE = 999  # percent that are written; what is more is unsure in every digit


@dataclass(frozen=True)
class Field:
    """A column of each backend, and what its cells say."""

    column: Column
    cell: Callable[[Result], str]


def interval(result: Result) -> str:
    """Write the 95 % interval of the median, in microseconds."""
    return _span(median_of(result.latency_us), format_micros)


def how_sure(found: Estimate) -> str:
    """Write half of the interval as a part of the figure, in whole percent, rounded up."""
    part = found.half_width
    if part is None:
        return "±?"
    # Up, so that a figure never looks surer than it is; 5.000000001 % is 5 %.
    percent = ceil(round(100 * part, 6))
    return f"±{percent}%" if percent <= MOST_UNSURE else f">{MOST_UNSURE}%"


def _span(found: Estimate, written: Callable[[float], str]) -> str:
    if found.low is None or found.high is None:
        return NOTHING
    return f"{written(found.low)}..{written(found.high)}"


TIME = Field(Column("time", "us"), lambda result: format_micros(result.latency_us.median))
_SURE = Column("", "±95%", gap=1, is_left=True)
SURE = Field(_SURE, lambda result: how_sure(median_of(result.latency_us)))
INTERVAL = Field(Column("95 % interval", "us"), interval)
WORTH = Field(Column("n eff"), lambda one: f"{one.independence.effective_samples:.0f}")
ALGBW = Field(Column("algbw", "GB/s"), lambda result: _rate(result.algbw_gb_per_s))
BUSBW = Field(Column("busbw", "GB/s"), lambda result: _rate(result.busbw_gb_per_s))


def _rate(gb_per_s: float) -> str:
    return format_bandwidth(gb_per_s * GIGABYTE)


def variant_field(backend: str) -> Field:
    """Return the column that marks which variant ran."""
    title = "proto" if backend == SUBJECT else "variant"
    return Field(Column(title), lambda result: result.variant)


def speed_up_columns(versus: str, wide: bool) -> tuple[Column, ...]:
    """Return the columns of a speed-up over the backend `versus`."""
    if wide:
        return Column("ratio"), Column("95 % interval")
    return Column("vs"), replace(_SURE, title=versus)


def cells(found: Estimate | None, write: Callable[[float], str] = format_ratio) -> tuple[str, str]:
    """Write a figure, and how sure it is."""
    return (NOTHING, NOTHING) if found is None else (write(found.value), how_sure(found))


def speed_up(this: Result | None, other: Result | None) -> Estimate | None:
    """How many times faster `this` is; None where one is missing, wrong or took no time."""
    if this is None or other is None or "failed" in (this.check.status, other.check.status):
        return None
    if min(this.latency_us.median, other.latency_us.median) <= 0:
        return None
    return ratio(median_of(other.latency_us), median_of(this.latency_us))


def speed_up_cells(found: Estimate | None, wide: bool) -> tuple[str, str]:
    """Write a speed-up."""
    return (
        cells(found) if found is None or not wide else (cells(found)[0], _span(found, format_ratio))
    )


WRONG_COLUMN = Column(WRONG)


def wrong(results: Sequence[Result | BackendStep]) -> str:
    """Count wrong elements; nothing is known where some result was not checked."""
    count = sum(result.check.wrong for result in results)
    is_unchecked = any(result.check.status == "skipped" for result in results)
    return NOTHING if is_unchecked and not count else str(count)
