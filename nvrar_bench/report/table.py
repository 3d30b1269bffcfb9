"""The table on the screen: one per (dtype, op, placement, buffers), one row per size.

On a terminal it has rules and colour, and one line per backend where side by side would be wider
than the screen. Everywhere else it is plain text as wide as it needs to be,
in the manner of nccl-tests: every line that is not data begins with `#`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rich.console import Console

from nvrar_bench.report.grid import NOTHING, WRONG, Grid
from nvrar_bench.report.remarks import lines
from nvrar_bench.report.series import Series, groups, series_of
from nvrar_bench.report.show import show
from nvrar_bench.results.points import numbered
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

_FACTS = {
    "mpi_library": "MPI library",
    "cpu": "CPU",
    "compiler": "kernel compiler",
    "host": "host",
}
_Row = dict[Series, Result]


def write(record: RunRecord, console: Console) -> None:
    """Write the whole report on `record`: what ran where, the tables, and what went wrong."""
    unit = "µs" if console.encoding.startswith("utf") else "us"
    grids = [grid(title, results, unit) for title, results in groups(record)]
    show(console, list(heading(record)), grids, list(lines(record)))


def heading(record: RunRecord) -> Iterator[str]:
    """Say what ran where, a line each."""
    shape = record.topology
    kind = ("virtual " if shape.virtual_nodes else "") + ("node" if shape.nodes == 1 else "nodes")
    yield f"nvrar-bench {record.run.version}"
    yield f"ranks: {shape.ranks} on {shape.nodes} {kind}, {shape.ranks_per_node} per node"
    if record.settings.get("launches", 1) != 1:
        yield f"launches: {record.settings['launches']}"
    for key, name in _FACTS.items():
        if record.environment.get(key) is not None:
            yield f"{name}: {record.environment[key]}"


def interval(result: Result) -> str:
    """Write the 95 % interval of the median, in microseconds."""
    low, high = result.latency_us.ci95_low, result.latency_us.ci95_high
    if low is None or high is None:
        return NOTHING
    return f"{format_latency(low * MICROSECOND)}..{format_latency(high * MICROSECOND)}"


def _wrong(result: Result) -> str:
    return NOTHING if result.check.status == "skipped" else str(result.check.wrong)


_METRICS: tuple[tuple[str, Callable[[Result], str]], ...] = (
    ("median {unit}", lambda result: format_latency(result.latency_us.median * MICROSECOND)),
    ("95 % interval", interval),
    ("n eff", lambda result: f"{result.independence.effective_samples:.0f}"),
    ("busbw GB/s", lambda result: format_bandwidth(result.busbw_gb_per_s * GIGABYTE)),
    (WRONG, _wrong),
)


def grid(title: str, results: Sequence[Result], unit: str) -> Grid:
    """Return the table of one group; `unit` is how microseconds are written."""
    series = list(dict.fromkeys(map(series_of, results)))
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
    for repeat, result in numbered(results, lambda one: (series_of(one), one.count)):
        rows.setdefault((result.count, repeat), {})[series_of(result)] = result
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
