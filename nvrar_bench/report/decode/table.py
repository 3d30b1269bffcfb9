"""The table of decode steps: one row per batch, a block of columns per backend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console

from nvrar_bench.documents.decode import BackendStep, BatchResult, DecodeRecord
from nvrar_bench.report.columns import SURE, WRONG_COLUMN, cells, speed_up_columns, wrong
from nvrar_bench.report.decode.words import (
    estimate,
    heading,
    label,
    micros,
    milliseconds,
    notes,
    tokens,
)
from nvrar_bench.report.grid import NOTHING, Column, ColumnGroup, Grid, screen_width, show
from nvrar_bench.statistics.median import Estimate, median_of
from nvrar_bench.units import format_size

_SURE = SURE.column
_STEP = (Column("step", "ms"), _SURE, Column("comm", "us"), _SURE)
_RATE, _PART = Column("tok/s"), Column("comm", "part")


def write(record: DecodeRecord, console: Console) -> None:
    """Write the whole report on `record`."""
    layouts = [side_by_side(record), side_by_side(record, has_rate=False), stacked(record)]
    grids = [layouts] if record.results else []
    show(console, list(heading(record)), grids, list(notes(record)), screen_width(console))


def side_by_side(record: DecodeRecord, has_rate: bool = True) -> Grid:
    """Put backends beside each other."""
    first = {label(one): one for result in record.results for one in result.steps}
    rate = (_RATE,) if has_rate else ()
    versus = [name for name in first if any(_versus(r, name) for r in record.results)]
    blocks = (
        ColumnGroup("", (Column("batch"), Column("work", "ms"))),
        *(ColumnGroup(name, (*_STEP, *rate)) for name in first),
        *(_speed_up(record, name, versus) for name in versus),
        ColumnGroup("", (WRONG_COLUMN,)),
    )
    rows = tuple(_row(result, list(first), versus, has_rate) for result in record.results)
    return Grid(_what(record), blocks, rows)


def _what(record: DecodeRecord) -> str:
    return f"one token for each sequence of a batch: {record.model.name}"


def _speed_up(record: DecodeRecord, name: str, versus: Sequence[str]) -> ColumnGroup:
    other = next(filter(None, (_versus(result, name) for result in record.results)), "")
    title = "speed-up" if len(versus) == 1 else name
    return ColumnGroup(title, speed_up_columns(other, wide=False))


def _versus(result: BatchResult, name: str) -> str | None:
    return next((one.versus for one in result.steps if label(one) == name), None)


def _row(
    result: BatchResult, names: Sequence[str], versus: Sequence[str], has_rate: bool
) -> tuple[str, ...]:
    of = {label(one): one for one in result.steps}
    row = [str(result.batch), _work(result)]
    for name in names:
        figures = _figures(of[name]) if name in of else (NOTHING,) * 5
        row += figures if has_rate else figures[:-1]
    for name in versus:
        row += cells(estimate(of[name].speed_up) if name in of else None)
    return (*row, wrong(result.steps))


def _work(result: BatchResult) -> str:
    return milliseconds(result.work.latency_us.median) if result.work else NOTHING


def _figures(one: BackendStep) -> tuple[str, ...]:
    step, rate = median_of(one.step.latency_us), one.tokens_per_s.value
    comm = cells(estimate(one.all_reduce_us), micros)
    return (*cells(step, milliseconds), *comm, tokens(rate))


def stacked(record: DecodeRecord) -> Grid:
    """Put backends below each other: a line per batch and backend, with all figures."""
    points = ("batch", "all-reduce", "KV cache")
    blocks = (
        ColumnGroup("", (*map(Column, points), Column("work", "ms"))),
        ColumnGroup("", (Column("backend", is_left=True), *_STEP, _PART, _RATE)),
        ColumnGroup("speed-up", (Column("vs", is_left=True), Column(""), _SURE)),
        ColumnGroup("", (WRONG_COLUMN,)),
    )  # fmt: skip
    rows = tuple(line for result in record.results for line in _lines(result))
    return Grid(_what(record), blocks, rows)


def _lines(result: BatchResult) -> Iterator[tuple[str, ...]]:
    point = (str(result.batch), format_size(result.size_bytes), format_size(result.kv_bytes))
    for one in result.steps:
        *figures, rate = _figures(one)
        versus = (one.versus or "", *cells(estimate(one.speed_up))) if one.versus else ("", "", "")
        yield (
            *point, _work(result), label(one), *figures, part(estimate(one.all_reduce_part)), rate,
            *versus, wrong([one]),
        )  # fmt: skip


def part(found: Estimate | None) -> str:
    """Write the part of a step that is all-reduce."""
    return NOTHING if found is None else f"{100 * found.value:.1f}%"
