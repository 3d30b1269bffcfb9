"""The table of a run: one per (dtype, op, placement, buffers), one row per size.

A block of columns per backend, with the names of nccl-tests. The first layout that fits is shown:
with both bandwidths, with busbw alone, without counts, and last with a line per backend. The
summary is what `check` shows in place of a table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

from rich.console import Console

from nvrar_bench.documents.record import Record, RunRecord, Topology
from nvrar_bench.documents.result import Result
from nvrar_bench.report import columns
from nvrar_bench.report.columns import Field, Series, all_series, groups, series_of
from nvrar_bench.report.grid import NOTHING, WIDE, Column, ColumnGroup, Grid, screen_width, show
from nvrar_bench.report.remarks import lines, notes, samples
from nvrar_bench.statistics.median import Estimate
from nvrar_bench.statistics.points import SUBJECT, numbered
from nvrar_bench.units import format_ratio, format_size

_FACTS = {
    "mpi_library": "MPI library",
    "between_machines": "between machines",
    "cpu": "CPU",
    "compiler": "kernel compiler",
    "host": "host",
    "network": "settings of the network",
    "network_settings": "variables",
}
_SIZE, _COUNT = Column("size", "B"), Column("count")
_SHORT = (columns.TIME, columns.SURE, columns.BUSBW)  # algbw is size over time
_LONG = (columns.TIME, columns.SURE, columns.ALGBW, columns.BUSBW)
_WIDE = (columns.TIME, columns.INTERVAL, columns.WORTH, columns.ALGBW, columns.BUSBW)


def write(record: RunRecord, console: Console, wide: bool = False, verbose: bool = False) -> None:
    """Write the whole report on `record`: what ran where, the tables, and what to know of them.

    `wide` adds the columns that explain the statistics, however wide that is; `verbose` writes all
    that is known below the table, not the few notes that matter most.
    """
    found = all_series(record.results)
    tables = [Table(title, results, found, wide) for title, results in groups(record)]
    grids = [table.layouts() for table in tables]
    width = screen_width(console)
    below = list(lines(record)) if verbose else list(notes(record))
    said = list(conclusions(tables))
    show(console, list(heading(record)), grids, below, WIDE if wide else width, said)


def conclusions(tables: Sequence[Table]) -> Iterator[str]:
    """Say in a line what all points say of each series; nothing of a single point.

    It is faster, or slower, where the interval of the speed-up leaves no doubt.
    """
    found: dict[tuple[str, str], list[Estimate]] = {}
    for table in tables:
        for row, one in product(table.rows(), table.compared):
            if speed_up := table.speed_up(row, one):
                found.setdefault((one.label, table.versus), []).append(speed_up)
    for (name, versus), points in found.items():
        if len(points) > 1:
            yield f"{name}: {_range(points)} as fast as {versus}; {_certain(points)}"


def _range(points: Sequence[Estimate]) -> str:
    values = [each.value for each in points]
    ends = dict.fromkeys(format_ratio(end) for end in (min(values), max(values)))
    return " to ".join(ends)


def _certain(points: Sequence[Estimate]) -> str:
    faster = sum(each.low is not None and each.low > 1 for each in points)
    slower = sum(each.high is not None and each.high < 1 for each in points)
    return f"surely faster at {faster} of {len(points)} points" + (
        f", slower at {slower}" if slower else ""
    )


def heading(record: RunRecord) -> Iterator[str]:
    """Say what ran where, a line each."""
    yield from facts(record)
    yield from samples(record.results)


def facts(record: Record) -> Iterator[str]:
    """Say where it ran, and with what."""
    yield f"nvrar-bench {record.run.version}"
    yield ranks(record.topology)
    if record.settings.get("launches", 1) != 1:
        yield f"launches: {record.settings['launches']}"
    for key, name in _FACTS.items():
        if record.environment.get(key) is not None:
            yield f"{name}: {record.environment[key]}"


def ranks(shape: Topology) -> str:
    """Say how many ranks there are, and on which nodes."""
    kind = ("virtual " if shape.virtual_nodes else "") + ("node" if shape.nodes == 1 else "nodes")
    return f"ranks: {shape.ranks} on {shape.nodes} {kind}, {shape.ranks_per_node} per node"


@dataclass(frozen=True)
class Table:
    """One group of results as rows; `among` are all series of the run; `wide` as in `write`."""

    title: str
    results: Sequence[Result]
    among: Sequence[Series]
    wide: bool = False

    @cached_property
    def series(self) -> list[Series]:
        """The series of this group."""
        return list(dict.fromkeys(series_of(result, self.among) for result in self.results))

    @cached_property
    def reference(self) -> Series | None:
        """The first other backend, which the subject is compared with."""
        return next((one for one in self.series if one.backend != SUBJECT), None)

    @property
    def versus(self) -> str:
        """The name of the reference; empty where there is none."""
        return self.reference.backend if self.reference else ""

    @cached_property
    def compared(self) -> list[Series]:
        """The series that have a speed-up."""
        return [one for one in self.series if one.backend == SUBJECT and self.reference]

    def rows(self) -> list[dict[Series, Result]]:
        """One row per count, and a further one where a series has the same count again."""
        found: dict[tuple[int, int], dict[Series, Result]] = {}
        keyed = numbered(self.results, lambda one: (series_of(one, self.among), one.count))
        for repeat, result in keyed:
            row = found.setdefault((result.count, repeat), {})
            row[series_of(result, self.among)] = result
        return list(found.values())

    def layouts(self) -> list[Grid]:
        """All layouts, widest first; with `wide` there is one."""
        if self.wide:
            return [self.side_by_side(_WIDE)]
        return [
            self.side_by_side(_LONG),
            self.side_by_side(_SHORT),
            self.side_by_side(_SHORT, has_count=False),
            self.stacked(_SHORT),
        ]

    def side_by_side(self, fields: Sequence[Field], has_count: bool = True) -> Grid:
        """Put backends beside each other, one #wrong for all."""
        points = (_SIZE, _COUNT) if has_count else (_SIZE,)
        measured = [ColumnGroup(one.label, _titles(_fields(one, fields))) for one in self.series]
        # Without the count where there is no column for it.
        rows = ((*_point(row)[: len(points)], *self._cells(row, fields)) for row in self.rows())
        last = ColumnGroup("", (columns.WRONG_COLUMN,))
        blocks = (ColumnGroup("", points), *measured, *self._speed_up_blocks(), last)
        return Grid(self.title, blocks, tuple(rows))

    def _speed_up_blocks(self) -> Iterator[ColumnGroup]:
        for one in self.compared:
            label = "speed-up" if len(self.compared) == 1 else one.variants[0]
            label = f"{label} vs {self.versus}" if self.wide else label
            yield ColumnGroup(label, columns.speed_up_columns(self.versus, self.wide))

    def _cells(self, row: dict[Series, Result], fields: Sequence[Field]) -> Iterator[str]:
        for one in self.series:
            for field in _fields(one, fields):
                yield field.cell(row[one]) if one in row else NOTHING
        for one in self.compared:
            yield from columns.speed_up_cells(self.speed_up(row, one), self.wide)
        yield columns.wrong(list(row.values()))

    def speed_up(self, row: dict[Series, Result], of: Series) -> Estimate | None:
        """How many times faster a series is than the reference in a row."""
        other = row.get(self.reference) if self.reference else None
        return columns.speed_up(row.get(of), other)

    def stacked(self, fields: Sequence[Field]) -> Grid:
        """Put backends below each other: a line per backend and size."""
        speed_ups = [columns.speed_up_columns(self.versus, self.wide)] if self.compared else []
        blocks = (
            ColumnGroup("", (_SIZE, _COUNT, Column("backend", is_left=True), *_titles(fields))),
            *(ColumnGroup("speed-up", titles) for titles in speed_ups),
            ColumnGroup("", (columns.WRONG_COLUMN,)),
        )
        lines = (line for row in self.rows() for line in self._lines(row, fields))
        return Grid(self.title, blocks, tuple(lines))

    def _lines(
        self, row: dict[Series, Result], fields: Sequence[Field]
    ) -> Iterator[tuple[str, ...]]:
        for one, result in ((one, row[one]) for one in self.series if one in row):
            # Each line names the variant that ran, so that no column has to.
            name = Series(one.backend, (result.variant,)).label
            cells = (field.cell(result) for field in fields)
            speed_up = ("", "")
            if one in self.compared:
                speed_up = columns.speed_up_cells(self.speed_up(row, one), self.wide)
            ratios = speed_up if self.compared else ()
            yield (*_point(row), name, *cells, *ratios, columns.wrong([result]))


def _fields(series: Series, fields: Sequence[Field]) -> tuple[Field, ...]:
    marks = (columns.variant_field(series.backend),) if series.has_marks else ()
    return (*marks, *fields)


def _titles(fields: Sequence[Field]) -> tuple[Column, ...]:
    return tuple(field.column for field in fields)


def _point(row: dict[Series, Result]) -> tuple[str, str]:
    result = next(iter(row.values()))
    return format_size(result.size_bytes), str(result.count)


def summary(record: RunRecord) -> list[str]:
    """Return a correctness run in a few lines: what passed per backend, and what failed."""
    topology = record.topology
    lines = [f"{topology.ranks} ranks; MPI library: {record.environment.get('mpi_library')}"]
    lines += [f"skipped {skipped.backend}: {skipped.reason}" for skipped in record.skipped]
    lines += checked(record)
    lines += _soak(record.environment.get("soak"))
    lines += [_failure(result) for result in record.results if result.check.status == "failed"]
    return [*lines, *_verdict(record)]


def _verdict(record: RunRecord) -> Iterator[str]:
    """Say of a run that came to its end whether all is correct."""
    counted = Counter(result.check.status for result in record.results)
    if counted["failed"]:
        yield f"WRONG: {counted['failed']} of {counted.total()} results"
    elif counted["passed"] and record.run.status == "complete":
        yield f"all correct: {counted['passed']} results"


def checked(record: RunRecord) -> list[str]:
    """Say of each backend how many of its results passed."""
    lines = []
    counted = Counter((result.backend, result.check.status) for result in record.results)
    for backend in dict.fromkeys(result.backend for result in record.results):
        passed, failed = counted[backend, "passed"], counted[backend, "failed"]
        skipped = counted[backend, "skipped"]
        elements = sum(r.check.elements for r in record.results if r.backend == backend)
        compared = f"{elements:,} elements compared"
        unchecked = f", {skipped} not checked" if skipped else ""
        lines.append(f"{backend}: {passed} passed, {failed} failed{unchecked}; {compared}")
    return lines


def _soak(done: Any) -> list[str]:
    """Describe a soak; in somebody else's record anything may be under its name."""
    if not isinstance(done, Mapping):
        return []
    by_backend = done.get("calls_by_backend")
    counted = by_backend.items() if isinstance(by_backend, Mapping) else ()
    calls = ", ".join(f"{name} {count}" for name, count in counted)
    seconds = done.get("seconds")
    took = f"{seconds:.1f} s" if isinstance(seconds, int | float) else "an unknown time"
    return [f"soak: {done.get('calls')} verified calls in {took}: {calls}"]


def _failure(result: Result) -> str:
    first = result.check.first_wrong
    seen = ""
    if first is not None:
        seen = f"; first on rank {first.rank}, element {first.index}: "
        seen += f"expected {first.expected}, saw {first.seen}"
    return (
        f"FAILED {result.backend} {result.variant} {result.dtype} {result.op} "
        f"{format_size(result.size_bytes)} {result.placement} {result.buffers}: "
        f"{result.check.wrong} wrong{seen}"
    )
