"""The table on the screen: one per (dtype, op, placement, buffers), one row per size.

On a terminal it has rules and colour, and one line per backend where side by side would be wider
than the screen. Everywhere else it is plain text as wide as it needs to be,
in the manner of nccl-tests: every line that is not data begins with `#`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from rich.console import Console

from nvrar_bench.report.grid import NOTHING, WRONG, Grid
from nvrar_bench.report.show import show
from nvrar_bench.results.record import Result, RunRecord
from nvrar_bench.units import (
    GIGABYTE,
    MICROSECOND,
    format_bandwidth,
    format_latency,
    format_ratio,
    format_size,
)

# The backend whose speed-up over the others is the question; see the last columns.
SUBJECT = "nvrar"
# Warnings that end in the same advice; what is more is in the record.
MOST_OF_A_KIND = 3

_FACTS = {
    "mpi_library": "MPI library",
    "cpu": "CPU",
    "compiler": "kernel compiler",
    "host": "host",
}


@dataclass(frozen=True)
class Series:
    """The results of one backend in one variant: one block of columns."""

    backend: str
    variant: str

    @property
    def label(self) -> str:
        """Name the series as its heading does, in ASCII: it decides the width of columns."""
        label = f"{self.backend} {self.variant}".strip()
        return "".join(c if c.isascii() and c.isprintable() else "?" for c in label)


_Row = dict[Series, Result]


def write(record: RunRecord, console: Console) -> None:
    """Write the whole report on `record`: what ran where, the tables, and what went wrong."""
    unit = "µs" if console.encoding.startswith("utf") else "us"
    grids = [_grid(title, results, unit) for title, results in _groups(record)]
    show(console, list(_heading(record)), grids, list(_notes(record)))


def _heading(record: RunRecord) -> Iterator[str]:
    shape = record.topology
    kind = ("virtual " if shape.virtual_nodes else "") + ("node" if shape.nodes == 1 else "nodes")
    yield f"nvrar-bench {record.run.version}"
    yield f"ranks: {shape.ranks} on {shape.nodes} {kind}, {shape.ranks_per_node} per node"
    if record.settings.get("launches", 1) != 1:
        yield f"launches: {record.settings['launches']}"
    for key, name in _FACTS.items():
        if record.environment.get(key) is not None:
            yield f"{name}: {record.environment[key]}"


def _groups(record: RunRecord) -> Iterator[tuple[str, list[Result]]]:
    groups: dict[str, list[Result]] = {}
    for result in record.results:
        placement = result.placement.replace("_", " ")
        title = f"{result.dtype} {result.op}, {placement}, {result.buffers} buffers"
        groups.setdefault(title, []).append(result)
    yield from groups.items()


def _interval(result: Result) -> str:
    low, high = result.latency_us.ci95_low, result.latency_us.ci95_high
    if low is None or high is None:
        return NOTHING
    return f"{format_latency(low * MICROSECOND)}..{format_latency(high * MICROSECOND)}"


def _wrong(result: Result) -> str:
    return NOTHING if result.check.status == "skipped" else str(result.check.wrong)


_METRICS: tuple[tuple[str, Callable[[Result], str]], ...] = (
    ("median {unit}", lambda result: format_latency(result.latency_us.median * MICROSECOND)),
    ("95 % interval", _interval),
    ("n eff", lambda result: f"{result.independence.effective_samples:.0f}"),
    ("busbw GB/s", lambda result: format_bandwidth(result.busbw_gb_per_s * GIGABYTE)),
    (WRONG, _wrong),
)


def _grid(title: str, results: Sequence[Result], unit: str) -> Grid:
    series = list(dict.fromkeys(Series(r.backend, r.variant) for r in results))
    pairs = _comparisons(series)
    metrics = tuple(name.format(unit=unit) for name, _ in _METRICS)
    return Grid(
        title=title,
        points=("size", "count"),
        series=tuple((one.label, metrics) for one in series),
        ratios=_ratio_block(pairs),
        rows=tuple(tuple(_cells(row, series, pairs)) for row in _rows(results)),
    )


def _ratio_block(pairs: Sequence[tuple[Series, Series]]) -> tuple[str, tuple[str, ...]] | None:
    if not pairs:
        return None
    return f"speed-up vs {pairs[0][1].label}", tuple(this.label for this, _ in pairs)


def _rows(results: Sequence[Result]) -> list[_Row]:
    """One row per count, and a further one where a series has the same count again."""
    rows: dict[tuple[int, int], _Row] = {}
    for result in results:
        series, repeat = Series(result.backend, result.variant), 0
        while series in rows.setdefault((result.count, repeat), {}):
            repeat += 1
        rows[result.count, repeat][series] = result
    return list(rows.values())


def _comparisons(series: Sequence[Series]) -> list[tuple[Series, Series]]:
    """Pair every variant of the subject with the first other backend there is."""
    others = [one for one in series if one.backend != SUBJECT]
    return [(one, others[0]) for one in series if one.backend == SUBJECT and others]


def _cells(
    row: _Row, series: Sequence[Series], pairs: Sequence[tuple[Series, Series]]
) -> Iterator[str]:
    any_result = next(iter(row.values()))
    yield format_size(any_result.size_bytes)
    yield str(any_result.count)
    for one in series:
        result = row.get(one)
        yield from (NOTHING if result is None else metric(result) for _, metric in _METRICS)
    yield from (_speed_up(row.get(this), row.get(other)) for this, other in pairs)


def _speed_up(this: Result | None, other: Result | None) -> str:
    """How many times faster `this` is.

    Nothing where one is missing, wrong, took no time, or is of another state of the machine.
    """
    if this is None or other is None or "failed" in (this.check.status, other.check.status):
        return NOTHING
    if not this.state.is_like(other.state):
        return NOTHING
    median = this.latency_us.median
    return format_ratio(other.latency_us.median / median) if median > 0 else NOTHING


def _notes(record: RunRecord) -> Iterator[str]:
    """Say what the tables do not, worst last: the end of the output is what is read."""
    if not record.results:
        yield "no results"
    yield from _samples(record.results)
    for skipped in record.skipped:
        yield f"skipped: {skipped.backend}: {skipped.reason}"
    yield from _warnings(record.results)
    yield from (_wrong_result(result) for result in record.results if result.check.wrong)
    for error in record.errors:
        yield f"error: {error.type}: {error.message}"
    if record.run.status != "complete":
        yield f"the run is not complete: {record.run.status}"


def _samples(results: Sequence[Result]) -> Iterator[str]:
    """Say how many samples there are, what ended the points, who was late and who came last."""
    counts = sorted({result.samples for result in results})
    if not counts:
        return
    reasons = Counter(result.stop_reason for result in results)
    ended = ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common())
    span = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    yield f"samples: {span} per point; ended by {ended}"
    late, taken = sum(len(result.late) for result in results), sum(r.samples for r in results)
    if late:
        yield f"late: {late} of {taken} samples, which some rank began late, are not in the figures"
    elsewhere = sum(result.state.left_out for result in results)
    if elsewhere:
        yield (
            f"state: {elsewhere} of {taken} samples, which found the machine in another state, are "
            "not in the medians"
        )
    arrivals = [arrival for result in results for arrival in result.arrivals]
    last = max(arrivals, key=lambda arrival: arrival.median_us, default=None)
    if last is not None and last.max_us > 0:
        yield (
            f"last to arrive: rank {last.rank}, {format_latency(last.median_us * MICROSECOND)} us "
            f"behind in the median, {format_latency(last.max_us * MICROSECOND)} us at most"
        )


def _label(result: Result) -> str:
    return Series(result.backend, result.variant).label


def _warnings(results: Sequence[Result]) -> Iterator[str]:
    """Each warning once; of many that end in the same advice the first ones."""
    by_advice: dict[str, list[str]] = {}
    for text in dict.fromkeys(text for result in results for text in result.warnings):
        lines = by_advice.setdefault(text.rpartition("; ")[2], [])
        lines += _warning(text, results)
    for advice, lines in by_advice.items():
        yield from lines[:MOST_OF_A_KIND]
        if len(lines) > MOST_OF_A_KIND:
            yield f"warning: {len(lines) - MOST_OF_A_KIND} more such, in the record: {advice}"


def _warning(text: str, results: Sequence[Result]) -> Iterator[str]:
    """Say it for all results, or for each series with the sizes that it came at."""
    warned = [result for result in results if text in result.warnings]
    if len(warned) == len(results) > 1:
        yield f"warning: {text}"
    else:
        yield from _warnings_of_series(text, warned)


def _warnings_of_series(text: str, warned: Sequence[Result]) -> Iterator[str]:
    for label, group in groupby(sorted(warned, key=_label), key=_label):
        sizes = dict.fromkeys(format_size(result.size_bytes) for result in group)
        yield f"warning: {label} at {', '.join(sizes)}: {text}"


def _wrong_result(result: Result) -> str:
    where = f"{result.dtype} {result.op}, {result.placement.replace('_', ' ')}"
    text = f"wrong: {_label(result)} at {format_size(result.size_bytes)}, {where}: "
    text += f"{result.check.wrong} of {result.check.elements} elements"
    first = result.check.first_wrong
    if first is None:
        return text
    seen = f"expected {first.expected}, seen {first.seen}"
    return f"{text}; first at rank {first.rank}, index {first.index}: {seen}"
