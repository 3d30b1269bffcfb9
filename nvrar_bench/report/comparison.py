"""A comparison on the screen: a table per run and group of points, verdicts in the last column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console

from nvrar_bench.documents.comparison import VERDICTS, ComparedPoint, Comparison, ComparisonDocument
from nvrar_bench.report.grid import NOTHING, VERDICT, Grid, plain_columns
from nvrar_bench.report.show import show
from nvrar_bench.statistics.needed import MOST
from nvrar_bench.units import MICROSECOND, format_latency


def write(document: ComparisonDocument, console: Console) -> None:
    """Write every comparison of `document`."""
    unit = "µs" if console.encoding.startswith("utf") else "us"
    for i, comparison in enumerate(document.comparisons):
        if i > 0:
            console.out("" if console.is_terminal else "#")
        heading = [
            *(f"base: {document.base.file}", f"new: {comparison.new.file}"),
            summary(comparison, document.threshold),
        ]
        grids = [[_grid(title, points, unit)] for title, points in groups(comparison.points)]
        show(console, heading, grids, list(remarks(comparison)))


def summary(comparison: Comparison, threshold: float) -> str:
    """Say in one line how many points have each verdict."""
    counts = comparison.summary
    verdicts = [(getattr(counts, verdict), verdict) for verdict in VERDICTS]
    said = [f"{count} {verdict}" for count, verdict in verdicts if count]
    missing = f"; {counts.missing} missing" if counts.missing else ""
    total = "1 point" if counts.points == 1 else f"{counts.points} points"
    return f"{total} at a threshold of {percent(threshold)}: {', '.join(said)}{missing}"


def remarks(comparison: Comparison) -> Iterator[str]:
    """Say what the tables do not, worst last."""
    yield from (f"differs: {difference}" for difference in comparison.differences)
    yield from (f"missing: {missing}" for missing in comparison.missing)
    yield from comparison.notes
    yield from undecided(comparison.points)


def undecided(points: Sequence[ComparedPoint]) -> Iterator[str]:
    """Say what would decide the points that are undecided."""
    open_points = [point for point in points if point.verdict == "undecided"]
    needed = [point.launches_needed for point in open_points if point.launches_needed]
    if not open_points:
        return
    of = f"undecided: {len(open_points)} of {len(points)} points"
    if not needed:
        yield f"{of}; {MOST} launches of each run would decide none of them: {_why(open_points)}"
        return
    what = "them" if len(needed) == len(open_points) else f"{len(needed)} of them"
    yield (
        f"{of}; about {max(needed)} launches of each run would decide {what}: "
        f"sweep --launches {max(needed)}"
    )


def _why(points: Sequence[ComparedPoint]) -> str:
    if all(point.ratio is None for point in points):
        return "there is no interval; take more samples"
    return "they lie at the threshold, have no interval, or the machine was in another state"


def groups(points: Sequence[ComparedPoint]) -> Iterator[tuple[str, list[ComparedPoint]]]:
    """Sort points into tables, in the order in which the groups first come."""
    found: dict[str, list[ComparedPoint]] = {}
    for point in points:
        found.setdefault(point.group, []).append(point)
    yield from found.items()


def cells(point: ComparedPoint) -> tuple[str, ...]:
    """Return a row: series, size, count, both medians, ratio, its interval, verdict."""
    return (
        _ascii(point.series),
        point.size,
        str(point.count),
        _latency(point.base.median_us),
        _latency(point.new.median_us),
        NOTHING if point.ratio is None else f"{point.ratio:.3f}",
        NOTHING if point.low is None else f"{point.low:.3f}..{point.high:.3f}",
        point.verdict,
    )


def titles(unit: str) -> tuple[str, ...]:
    """Return the titles of what `cells` returns."""
    return (
        *("backend", "size", "count", f"base {unit}", f"new {unit}"),
        *("new/base", "95 % interval", VERDICT),
    )


def percent(part: float) -> str:
    """Write a part as a percentage."""
    return f"{part * 100:.6g} %"


def _grid(title: str, points: Sequence[ComparedPoint], unit: str) -> Grid:
    return Grid(title, plain_columns(titles(unit)), tuple(cells(point) for point in points))


def _latency(micros: float | None) -> str:
    return NOTHING if micros is None else format_latency(micros * MICROSECOND)


def _ascii(text: str) -> str:
    """Keep a name one line of known width: it comes from somebody else's file."""
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text)
