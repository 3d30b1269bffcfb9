"""A comparison as tables on the screen, and as Markdown for a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rich.console import Console

from nvrar_bench.documents.comparison import VERDICTS, ComparedPoint, Comparison, ComparisonDocument
from nvrar_bench.report.columns import ascii_of
from nvrar_bench.report.grid import NOTHING, VERDICT, Grid, plain_columns, printable, show
from nvrar_bench.statistics.verdicts import MOST
from nvrar_bench.units import format_micros


def write(document: ComparisonDocument, console: Console) -> None:
    """Write every comparison of `document`."""
    # Headings decide the width of columns, so they are in what the output can encode.
    unit = "µs" if console.encoding.startswith("utf") else "us"
    for i, comparison in enumerate(document.comparisons):
        if i > 0:
            # In a file every line that is not data begins with `#`.
            console.out("" if console.is_terminal else "#")
        heading = [
            *(f"base: {document.base.file}", f"new: {comparison.new.file}"),
            summary(comparison, document.threshold),
        ]
        columns = plain_columns([title.format(unit) for title in _TITLES])
        grids = [
            [Grid(title, columns, tuple(map(cells, points)))]
            for title, points in groups(comparison.points)
        ]
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
    fix = f"sweep --launches {max(needed)}"
    if max(needed) > _MANY:
        fix = "keep other work off the machine, or raise --threshold"
    yield f"{of}; about {max(needed)} launches of each run would decide {what}: {fix}"


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


_MANY = 100  # launches that nobody waits for
_TITLES = ("backend", "size", "count", "base {}", "new {}", "new/base", "95 % interval", VERDICT)


def cells(point: ComparedPoint) -> tuple[str, ...]:
    """Return a row, in the order of _TITLES."""
    return (
        ascii_of(point.series),
        point.size,
        str(point.count),
        _latency(point.base.median_us),
        _latency(point.new.median_us),
        NOTHING if point.ratio is None else f"{point.ratio:.3f}",
        NOTHING if point.low is None else f"{point.low:.3f}..{point.high:.3f}",
        point.verdict,
    )


def percent(part: float) -> str:
    """Write a part as a percentage."""
    return f"{part * 100:.6g} %"


def _latency(micros: float | None) -> str:
    return NOTHING if micros is None else format_micros(micros)


# What Markdown or HTML would take for more than text. Names come from other people's files.
_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~&])")
_RIGHT, _LEFT = "---:", ":---"
_ALARMING = ("slower", "wrong")


def encode(document: ComparisonDocument) -> str:
    """Return the comparison as GitHub-flavoured Markdown."""
    parts = [_section(document, comparison) for comparison in document.comparisons]
    return "\n".join(line for part in parts for line in part)


def _section(document: ComparisonDocument, comparison: Comparison) -> Iterator[str]:
    yield f"**{_escaped(summary(comparison, document.threshold))}**"
    yield ""
    yield (
        f"{_escaped(comparison.new.file)} against {_escaped(document.base.file)}; ratios are new / "
        f"base with their {percent(document.confidence)} interval."
    )
    yield ""
    for title, points in groups(comparison.points):
        yield from _markdown_table(title, points)
    yield from (f"- {_escaped(remark)}" for remark in remarks(comparison))
    yield ""


def _markdown_table(title: str, points: Sequence[ComparedPoint]) -> Iterator[str]:
    yield _escaped(title)
    yield ""
    heads = [title.format("µs") for title in _TITLES]
    yield _markdown_row(heads)
    yield _markdown_row([_LEFT, *[_RIGHT] * (len(heads) - 2), _LEFT])
    for point in points:
        *row, verdict = cells(point)
        yield _markdown_row(
            [*map(_escaped, row), f"**{verdict}**" if verdict in _ALARMING else verdict]
        )
    yield ""


def _markdown_row(cells_of_row: Sequence[str]) -> str:
    return f"| {' | '.join(cells_of_row)} |"


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", printable(text, "utf-8"))
