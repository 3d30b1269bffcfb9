"""Decode steps: the table, one row per batch and a block of columns per backend, and its words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rich.console import Console

from nvrar_bench.documents.decode import BackendStep, BatchResult, DecodeRecord, Figure, TimedStep
from nvrar_bench.report import remarks
from nvrar_bench.report.columns import SURE, WRONG_COLUMN, ascii_of, cells, speed_up_columns, wrong
from nvrar_bench.report.grid import NOTHING, Column, ColumnGroup, Grid, screen_width, show
from nvrar_bench.report.table import facts
from nvrar_bench.statistics.median import Estimate, median_of
from nvrar_bench.units import MICROSECOND, format_latency, format_size

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
    points = (*map(Column, ("batch", "all-reduce", "KV cache")), Column("work", "ms"))
    figures = (Column("backend", is_left=True), *_STEP, _PART, _RATE)
    speed_up = (Column("vs", is_left=True), Column(""), _SURE)
    groups = (("", points), ("", figures), ("speed-up", speed_up), ("", (WRONG_COLUMN,)))
    rows = tuple(line for result in record.results for line in _lines(result))
    return Grid(_what(record), tuple(ColumnGroup(*each) for each in groups), rows)


def _lines(result: BatchResult) -> Iterator[tuple[str, ...]]:
    point = (str(result.batch), format_size(result.size_bytes), format_size(result.kv_bytes))
    for one in result.steps:
        *figures, rate = _figures(one)
        versus = (one.versus or "", *cells(estimate(one.speed_up))) if one.versus else ("", "", "")
        part = one.all_reduce_part
        share = NOTHING if part is None else f"{100 * part.value:.1f}%"
        step = *figures, share, rate
        yield (*point, _work(result), label(one), *step, *versus, wrong([one]))


_COMPUTE = {
    "stream": " (reads as many bytes as the rank's weights and KV cache)",
    "gemm": " (multiplies matrices of the layer's sizes, and reads the KV cache)",
    "none": "",
}


def estimate(of: Figure | None) -> Estimate | None:
    """Return a figure of the record."""
    return None if of is None else Estimate(of.value, of.ci95_low, of.ci95_high)


def label(step: BackendStep) -> str:
    """Name a backend as headings do."""
    variant = "" if step.variant == step.backend else step.variant
    return ascii_of(f"{step.backend} {variant}".strip())


def milliseconds(us: float) -> str:
    """Write a time in milliseconds: two decimals, or as many as show something."""
    ms = us / 1e3
    return f"{ms:.1f}" if ms >= 99.95 else f"{ms:.2f}" if ms >= 0.1 else f"{ms:.4f}"


def tokens(rate: float) -> str:
    """Write tokens per second."""
    return f"{rate:.0f}" if rate >= 100 else f"{rate:.2f}"


def micros(us: float) -> str:
    """Write a time in microseconds; the difference of two may be below 0."""
    text = format_latency(abs(us) * MICROSECOND)
    return f"-{text}" if us < 0 else text


def heading(record: DecodeRecord) -> Iterator[str]:
    """Say what ran where, of which model, and what follows from that."""
    yield from facts(record)
    model, step, results = record.model, record.step, record.results
    yield (
        f"model: {model.name}: {model.num_hidden_layers} layers, hidden size {model.hidden_size}, "
        f"{model.num_attention_heads} heads, {model.num_key_value_heads} KV heads, "
        f"{model.torch_dtype}; "
        + (f"split over {step.tensor_parallel} ranks" if step.tensor_parallel > 1 else "not split")
    )
    yield f"step: {step.all_reduces} all-reduces{_each(results, 'size_bytes', ', of ')}"
    cache = _each(results, "kv_bytes", " and ", " of KV cache")
    yield (
        f"each rank reads: {_bytes(step.layer_bytes)} of weights{cache} in each layer, "
        f"{_bytes(step.head_bytes)} of weights at the end"
    )
    yield f"work between all-reduces: {step.compute}{_COMPUTE[step.compute]}"
    if record.settings.get("late"):
        yield f"late on purpose: rank {record.settings['late']}"
    timed = _timed(results)
    if timed:
        samples = remarks.samples_per_point(timed, "batch and backend")
        yield f"{samples}, {record.step.context} tokens of context"


def _timed(results: Sequence[BatchResult]) -> list[TimedStep]:
    return [one.step for result in results for one in result.steps]


def _each(results: Sequence[BatchResult], key: str, before: str, what: str = "") -> str:
    """Write what each batch has: `, of 2K 16K 64K (batch 1 8 32)`."""
    if not results:
        return ""
    amounts = " ".join(_bytes(getattr(one, key)) for one in results)
    batches = " ".join(str(one.batch) for one in results)
    return f"{before}{amounts}{what} (batch {batches})"


def _bytes(size: int) -> str:
    """Write a size exactly where that is short, else to one decimal."""
    text = format_size(size)
    if len(text) <= 5:
        return text
    unit, power = next((u, p) for u, p in (("G", 30), ("M", 20), ("K", 10)) if size >= 2**p)
    return f"{size / 2**power:.1f}{unit}"


def notes(record: DecodeRecord) -> Iterator[str]:
    """Say what the figures are, and what is to be known of them; the worst comes last."""
    if record.step.compute != "none":
        yield "work: the step without all-reduces; comm: what all-reduces add to it"
    yield from (f"note: {text}" for text in _doubtful(record.results))
    yield from remarks.empty(record)
    yield from remarks.late_samples(_timed(record.results))
    yield from (f"warning: {text}" for text in _warnings(record.results))
    yield from (f"skipped: {text}" for text in remarks.skipped(record))
    yield from alarms(record)


def alarms(record: DecodeRecord) -> Iterator[str]:
    """Say what went wrong."""
    yield from (f"wrong: {text}" for result in record.results for text in _wrong(result))
    yield from (f"error: {text}" for text in remarks.errors(record))
    yield from remarks.endings(record)


def _doubtful(results: Sequence[BatchResult]) -> Iterator[str]:
    """Name batches at which the all-reduces are lost in the noise of the work."""
    found: dict[str, list[str]] = {}
    for result in results:
        for one in result.steps:
            comm = estimate(one.all_reduce_us)
            if comm and (comm.value if comm.low is None else comm.low) <= 0:
                found.setdefault(one.backend, []).append(str(result.batch))
    for backend, batches in found.items():
        yield (
            f"comm of {ascii_of(backend)} at batch {', '.join(batches)} is within the noise of the "
            "step: use --precision 0.2%, or leave the work out with --compute none"
        )


def _warnings(results: Sequence[BatchResult]) -> Iterator[str]:
    """Say each once, and of those that differ in their numbers the first; the record has all."""
    texts = [text for step in _timed(results) for text in step.warnings]
    # Backwards, because a later entry of a dict replaces an earlier one.
    yield from {re.sub(r"[\d.]+", "#", text): text for text in reversed(texts)}.values()


def _wrong(result: BatchResult) -> Iterator[str]:
    for one in result.steps:
        if one.check.wrong:
            yield f"{label(one)} at batch {result.batch}: {remarks.wrong_elements(one.check)}"
