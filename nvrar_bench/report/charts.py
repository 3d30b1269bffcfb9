"""The charts of a run: which there are, and the points of each from the results of a group."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from nvrar_bench.documents.record import RunRecord
from nvrar_bench.documents.result import Result
from nvrar_bench.report.chart import ChartLine, ChartPoint, Scale, draw, key, linear, logarithmic
from nvrar_bench.report.columns import Series, all_series, groups, interval, series_of
from nvrar_bench.report.markup import element
from nvrar_bench.statistics.median import Estimate, median_of
from nvrar_bench.statistics.points import numbered
from nvrar_bench.units import GIGABYTE, format_bandwidth, format_micros, format_size

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
