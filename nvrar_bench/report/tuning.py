"""What `tune` found: one row per size, and what became of the others."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console

from nvrar_bench.documents.record import RunRecord
from nvrar_bench.documents.tuning import Choice, TunedMedian, TuningDocument
from nvrar_bench.report.columns import SURE, TIME, cells
from nvrar_bench.report.grid import Column, ColumnGroup, Grid, screen_width, show
from nvrar_bench.report.remarks import endings, errors
from nvrar_bench.report.table import ranks
from nvrar_bench.statistics.doubts import DOUBT, RULER
from nvrar_bench.statistics.median import Estimate, ratio
from nvrar_bench.units import format_micros, format_size

_CHOICE = "choice"
_REFUSED = 3  # launches that are named; the record has all

_ENDINGS = {
    "winner": "one is certainly the fastest",
    "alike": "the fastest differ by less than their error of 1 %",
    "max_samples": "each has 1000 samples",
    "max_time": "--max-time was over",
}


def write(record: RunRecord, console: Console) -> None:
    """Write what `record`, of a run of tune, says of launches."""
    told = record.environment.get("tuning")
    document = TuningDocument.from_json(told, "environment.tuning") if told else None
    choices = document.choices if document else ()
    groups = dict.fromkeys((one.dtype, one.op, one.buffers) for one in choices)
    grids = [[_grid(key, choices)] for key in groups]
    heading, notes = list(_heading(record, document)), list(_notes(record, choices))
    show(console, heading, grids, notes, screen_width(console))


def _heading(record: RunRecord, document: TuningDocument | None) -> Iterator[str]:
    yield f"nvrar-bench {record.run.version}: launches of NVRAR"
    yield ranks(record.topology)
    if document:
        made_for = document.made_for
        yield f"device: {made_for.device}, {document.made_on.processor}; fabric: {made_for.fabric}"


def _grid(key: tuple[str, str, str], choices: tuple[Choice, ...]) -> Grid:
    dtype, op, buffers = key
    points = ("size", "launch", "from", "tried", "tied")
    figure = (TIME.column, SURE.column)
    blocks = (
        ColumnGroup("", tuple(Column(title) for title in points)),
        ColumnGroup(_CHOICE, figure),
        ColumnGroup("auto", figure),
        ColumnGroup("speed-up", (Column(""), SURE.column)),
    )
    rows = (_cells(one) for one in choices if (one.dtype, one.op, one.buffers) == key)
    return Grid(f"{dtype} {op}, {buffers} buffers", blocks, tuple(rows))


def _cells(one: Choice) -> tuple[str, ...]:
    measured, auto = _estimate(one.measured), _estimate(one.auto)
    speed_up = ratio(auto, measured) if auto and measured and measured.value else None
    launch = f"{one.protocol} {one.blocks}x{one.threads} {format_size(one.chunk_bytes)} "
    return (
        format_size(one.size_bytes),
        f"{launch}radix {one.radix}" + ("" if one.exchange == "doubling" else f" {one.exchange}"),
        "auto" if one.is_auto else "search",
        str(one.tried),
        str(one.level),
        *cells(measured, format_micros),
        *cells(auto, format_micros),
        *cells(speed_up),
    )


def _estimate(of: TunedMedian | None) -> Estimate | None:
    return None if of is None else Estimate(of.median_us, of.ci95_low_us, of.ci95_high_us)


def _notes(record: RunRecord, choices: tuple[Choice, ...]) -> Iterator[str]:
    yield "launch: protocol, blocks x threads, chunk, radix; from: the search, or auto's own choice"
    yield "tied: how many of those tried are not certainly slower than the fastest, itself included"
    ended = dict.fromkeys(one.ended_by for one in choices)
    for reason in ended:
        sizes = dict.fromkeys(format_size(o.size_bytes) for o in choices if o.ended_by == reason)
        yield f"search ended at {', '.join(sizes)}: {_ENDINGS[reason]}"
    for skipped in record.skipped[:_REFUSED]:
        yield f"left out: {skipped.reason}"
    if len(record.skipped) > _REFUSED:
        yield f"left out: {len(record.skipped) - _REFUSED} more, in the record"
    late = sum(len(one.late) for one in record.results)
    if late:
        taken = sum(one.samples for one in record.results)
        yield f"late: {late} of {taken} samples began late on some rank and are not counted"
    for text in dict.fromkeys(text for one in record.results for text in one.warnings):
        # Not what the few samples of those that dropped out leave in doubt.
        if not text.startswith((DOUBT, RULER)):
            yield f"warning: {text}"
    written = (record.settings.get("tune") or {}).get("output")
    if choices and written:
        yield f"to use the table: nvrar-bench sweep --tuning {written}"
    yield from (f"error: {text}" for text in errors(record))
    yield from endings(record)
