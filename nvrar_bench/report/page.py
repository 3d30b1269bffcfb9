"""A page for people: HTML with everything in it, that opens offline and prints.

Of a run: charts of each group of results, the table, and what is to be known of it. Of decode
steps: each step as a bar of its parts, and the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from nvrar_bench.documents.decode import BackendStep, BatchResult, DecodeRecord
from nvrar_bench.documents.record import RunRecord
from nvrar_bench.documents.result import Result
from nvrar_bench.report import columns, decode
from nvrar_bench.report.chart import (
    Bar,
    ChartLine,
    ChartPoint,
    Scale,
    bar_key,
    draw,
    draw_bars,
    key,
    linear,
    logarithmic,
)
from nvrar_bench.report.columns import Series, all_series, groups, how_sure, interval, series_of
from nvrar_bench.report.html import Article, article_of, element, html, section, table
from nvrar_bench.report.remarks import NOTE, REMARKS, notes
from nvrar_bench.report.table import Table, checked, heading
from nvrar_bench.statistics.median import Estimate, median_of
from nvrar_bench.statistics.points import numbered
from nvrar_bench.units import GIGABYTE, format_bandwidth, format_micros, format_size

_NOTES = (NOTE, "skipped")  # the other notes are alarms
_ALARMING = ("Wrong results", "Errors", "")  # titles of remarks that come before the figures
_FIELDS = (columns.TIME, columns.INTERVAL, columns.ALGBW, columns.BUSBW)


def encode(records: Sequence[RunRecord] | Sequence[DecodeRecord]) -> str:
    """Return the page on `records`, all of one kind, one below the other."""
    return html([_of_steps(r) if isinstance(r, DecodeRecord) else _of_run(r) for r in records])


def _of_run(record: RunRecord) -> Article:
    backends = ", ".join(dict.fromkeys(result.backend for result in record.results))
    title = f"All-reduce on {record.topology.ranks} ranks: {backends or 'no results'}"
    check = [section("Check", checked(record))] if record.results else []
    parts = *_alarms(record), *_groups(record), *_notes(record), *check
    return article_of(record, title, heading(record), parts)


def _groups(record: RunRecord) -> Iterator[Element]:
    look_of, among = looks(record), all_series(record.results)
    for title, results in groups(record):
        stacked = Table(title, results, among, wide=True).stacked(_FIELDS)
        charts = element("div", *figures(title, results, look_of), class_="charts")
        below = element("div", table(stacked), class_="wide")
        yield element("section", element("h2", title), charts, below)


def _alarms(record: RunRecord) -> Iterator[Element]:
    for remark in REMARKS:
        texts = list(remark.of(record))
        if texts and remark.title in _ALARMING:
            yield section(remark.title, texts, "alarm")


def _notes(record: RunRecord) -> Iterator[Element]:
    """Show what matters most, and fold away the rest."""
    most = [text.removeprefix(NOTE) for text in notes(record) if text.startswith(_NOTES)]
    if most:
        yield section("Notes", most)
    others = (remark for remark in REMARKS if remark.title not in _ALARMING)
    folded = [(remark.title, list(remark.of(record))) for remark in others]
    parts = [section(title, texts) for title, texts in folded if texts]
    if parts:
        yield element("details", element("summary", "All remarks"), *parts)


_Line = tuple[Series, int]  # and which of several at the same sizes, from 0


@dataclass(frozen=True)
class Chart:
    """A chart of each group: what is drawn, and on which axis."""

    title: str
    unit: str
    figure: Callable[[Result], Estimate]
    scale: Callable[[Sequence[float]], Scale]
    least: float  # what is not above it cannot be drawn


def _latency(result: Result) -> Estimate:
    return median_of(result.latency_us)


def _busbw(result: Result) -> Estimate:
    return _latency(result).rate(result.busbw_gb_per_s * result.latency_us.median)


CHARTS = (
    Chart("Latency: median with its 95 % interval", "µs", _latency, logarithmic, least=0.0),
    Chart("Bus bandwidth of the median", "GB/s", _busbw, linear, least=-1.0),
)


def looks(record: RunRecord) -> dict[_Line, int]:
    """Give each line of the record one look on all charts."""
    among = all_series(record.results)
    lines = dict.fromkeys(
        line for _, results in groups(record) for line, _ in _numbered(results, among)
    )
    first_ones_first = sorted(lines, key=lambda line: line[1])
    return {line: i for i, line in enumerate(first_ones_first)}


def figures(
    title: str, results: Sequence[Result], look_of: Mapping[_Line, int]
) -> Iterator[Element]:
    """Yield the charts of the group `title`, with their legends; none of what cannot be drawn."""
    for chart in CHARTS:
        lines = list(_lines(chart, results, look_of))
        if lines:
            yield _figure(chart, lines, title)


def _figure(chart: Chart, lines: Sequence[ChartLine], title: str) -> Element:
    points = [point for line in lines for point in line.points]
    # The end of an interval may be 0, which no logarithmic axis has: it is drawn to the edge.
    values = chart.scale([v for point in points for v in point.values if v > chart.least])
    note = element("small", " Hollow: wrong." if any(p.is_wrong for p in points) else "")
    legend = element("ul", *map(key, lines), class_="key")
    drawn = draw(lines, values, f"{chart.title}; {title}", chart.unit)
    return element("figure", element("figcaption", chart.title, note), legend, drawn)


def _lines(
    chart: Chart, results: Sequence[Result], look_of: Mapping[_Line, int]
) -> Iterator[ChartLine]:
    """Yield a line for each series, and a further one where it has the same size again."""
    found: dict[_Line, list[ChartPoint]] = {}
    among = list(dict.fromkeys(series for series, _ in look_of))
    for line, result in _numbered(results, among):
        if result.size_bytes > 0 and chart.figure(result).value > chart.least:
            mark = result.variant if line[0].has_marks else ""
            found.setdefault(line, []).append(_point(chart, result, mark))
    for line, points in found.items():
        series, repeat = line
        again = f" #{repeat + 1}" if repeat else ""
        by_size = tuple(sorted(points, key=lambda point: point.size))
        yield ChartLine(series.label + again, look_of[line], by_size)


def _numbered(results: Sequence[Result], among: Sequence[Series]) -> Iterator[tuple[_Line, Result]]:
    keyed = numbered(results, lambda one: (series_of(one, among), one.size_bytes))
    for repeat, result in keyed:
        yield (series_of(result, among), repeat), result


def _point(chart: Chart, result: Result, mark: str) -> ChartPoint:
    of, is_wrong = chart.figure(result), result.check.status == "failed"
    return ChartPoint(result.size_bytes, of.value, of.low, of.high, _words(result), is_wrong, mark)


def _words(result: Result) -> str:
    return (
        f"{result.backend} {result.variant}, {format_size(result.size_bytes)}: "
        f"{format_micros(result.latency_us.median)} µs ({interval(result)}), "
        f"{format_bandwidth(result.busbw_gb_per_s * GIGABYTE)} GB/s"
    )


def _of_steps(record: DecodeRecord) -> Article:
    title = f"Decode steps of {record.model.name} on {record.topology.ranks} ranks"
    worst = list(decode.alarms(record))
    said = [text for text in decode.notes(record) if text not in worst]
    above = [section("Errors", worst, "alarm")] if worst else []
    parts = *above, *_steps(record), section("Notes", said)
    return article_of(record, title, decode.heading(record), parts)


def _steps(record: DecodeRecord) -> Iterator[Element]:
    if record.results:
        drawn = element("div", _bars(record.results), class_="charts")
        below = element("div", table(decode.stacked(record)), class_="wide")
        yield element("section", element("h2", "A step and its parts"), drawn, below)


def _bars(results: Sequence[BatchResult]) -> Element:
    """Draw a bar for each backend and batch: the work below, what all-reduces add above."""
    title = "Time of a step: work (pale) and all-reduces (full)"
    names = list(dict.fromkeys(decode.label(one) for result in results for one in result.steps))
    groups = [
        (f"{result.batch}", [_bar(result, one, names) for one in result.steps])
        for result in results
    ]
    drawing = draw_bars(groups, len(names), title, ("batch, sequences", "ms"))
    legend = element("ul", *(bar_key(name, i) for i, name in enumerate(names)), class_="key")
    return element("figure", element("figcaption", title), legend, drawing)


def _bar(result: BatchResult, one: BackendStep, names: Sequence[str]) -> Bar:
    step, added = median_of(one.step.latency_us), decode.estimate(one.all_reduce_us)
    # No more than the step, whose noise may make it less than the work alone.
    work = min(result.work.latency_us.median, step.value) if result.work else 0.0
    comm = f", all-reduces {decode.micros(added.value)} µs {how_sure(added)}" if added else ""
    whole = f"{decode.milliseconds(step.value)} ms {how_sure(step)}"
    text = f"{decode.label(one)}, batch {result.batch}: {whole}{comm}"
    return Bar(names.index(decode.label(one)), work / 1e3, step.value / 1e3, text)
