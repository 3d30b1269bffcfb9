"""The page of a run: charts of each group of results, the table, and what is to be known of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from nvrar_bench.documents.record import RunRecord
from nvrar_bench.documents.result import Result
from nvrar_bench.report import columns
from nvrar_bench.report.columns import Series, all_series, groups, interval, series_of
from nvrar_bench.report.notes import NOTE, notes
from nvrar_bench.report.page.chart import (
    ChartLine,
    ChartPoint,
    Scale,
    draw,
    key,
    linear,
    logarithmic,
)
from nvrar_bench.report.page.frame import Article, article_of, element, section, table
from nvrar_bench.report.remarks import REMARKS, checked
from nvrar_bench.report.table import Table, heading
from nvrar_bench.statistics.median import Estimate, median_of
from nvrar_bench.statistics.points import numbered
from nvrar_bench.units import GIGABYTE, format_bandwidth, format_micros, format_size

_NOTES = (NOTE, "skipped")  # the other notes are alarms
_ALARMING = ("Wrong results", "Errors", "")  # titles of remarks that come before the figures
_FIELDS = (columns.TIME, columns.INTERVAL, columns.ALGBW, columns.BUSBW)


def article(record: RunRecord) -> Article:
    """Return the article on a run."""
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
    """Return the bandwidths of the median, and of the ends of its interval."""
    low, high = result.latency_us.ci95_low, result.latency_us.ci95_high
    # A short time is a high bandwidth: the ends change places.
    moved = result.busbw_gb_per_s * result.latency_us.median
    ends = (moved / high, moved / low) if low and high else (None, None)
    return Estimate(result.busbw_gb_per_s, *ends)


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
