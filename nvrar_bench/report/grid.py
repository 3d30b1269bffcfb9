"""A table as text, and its appearances: plain, on a terminal, and on a narrow terminal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

NOTHING = "-"
WRONG = "#wrong"
VERDICT = "verdict"
_STYLES = {
    "slower": "bold red", "wrong": "bold red", "faster": "green", "undecided": "yellow",
}  # fmt: skip

_Block = tuple[str, tuple[str, ...]]


@dataclass(frozen=True)
class Grid:
    """Rows of cells under blocks of columns.

    Attributes:
        title: what all rows have in common.
        points: the titles of the leading columns, which say what a row is.
        series: label and column titles of each block that is measured; the titles are the same.
        ratios: heading, and labels of those series that have a ratio to show; or None.
        rows: one cell for each column, in the order points, series, ratios.
        kind: what a series is, where series stand below each other.

    """

    title: str
    points: tuple[str, ...]
    series: tuple[_Block, ...]
    ratios: _Block | None
    rows: tuple[tuple[str, ...], ...]
    kind: str = "backend"

    @property
    def blocks(self) -> tuple[_Block, ...]:
        """All columns, block by block."""
        return (("", self.points), *self.series, *([self.ratios] if self.ratios else []))

    @property
    def titles(self) -> tuple[str, ...]:
        """The titles of all columns."""
        return tuple(title for _, titles in self.blocks for title in titles)

    def stacked(self) -> Grid:
        """Put the series below each other: as many lines as cells need, and few columns."""
        heading, rated = self.ratios or ("", ())
        titles = (*self.points, self.kind, *self.series[0][1], *([heading] if heading else []))
        rows = (line for row in self.rows for line in self._lines(row, rated))
        return Grid(self.title, titles, (), None, tuple(rows))

    def _lines(self, row: tuple[str, ...], rated: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        cells = iter(row)
        point = [next(cells) for _ in self.points]
        measured = [(label, [next(cells) for _ in titles]) for label, titles in self.series]
        ratios = dict(zip(rated, cells, strict=True))
        for label, values in measured:
            yield (*point, label, *values, *([ratios.get(label, "")] if rated else []))


def aligned(grid: Grid) -> Iterator[str]:
    """Write a grid as plain lines of equal columns; the two lines of headings begin with `#`."""
    columns = zip(grid.titles, *grid.rows, strict=True)
    widths = [max(map(len, column)) for column in columns]
    headings, start = [], 0
    for heading, titles in grid.blocks:
        end = start + len(titles)
        # A heading that is longer than its columns pushes the last of them out.
        room = sum(widths[start:end]) + 2 * (len(titles) - 1)
        widths[end - 1] += max(0, len(heading) - room)
        headings.append(heading.center(max(room, len(heading))))
        start = end
    yield f"# {'  '.join(headings)}".rstrip()
    for mark, row in (("#", grid.titles), *((" ", row) for row in grid.rows)):
        cells = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        yield f"{mark} {'  '.join(cells)}"


def on_terminal(grid: Grid, console: Console) -> Table:
    """Make the table for a terminal, stacked where it would be wider than the screen."""
    side_by_side = _rich_table(grid)
    unbounded = console.options.update(max_width=10_000)
    fits = console.measure(side_by_side, options=unbounded).maximum <= console.width
    return side_by_side if fits or not grid.series else _rich_table(grid.stacked())


def _rich_table(grid: Grid) -> Table:
    title = Text(grid.title, style="bold")
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading, titles in grid.blocks:
        for i, name in enumerate(titles):
            first = f"{heading if i == 0 else ''}\n" if grid.series else ""
            # Folding, the last resort of a stacked table, loses no digit; an ellipsis would.
            wide = {"no_wrap": True} if grid.series else {"overflow": "fold"}
            table.add_column(Text(f"{first}{name}"), justify="right", **wide)
    for row in grid.rows:
        table.add_row(*map(_rich_cell, grid.titles, row))
    return table


def _rich_cell(title: str, cell: str) -> Text:
    if title == VERDICT:
        return Text(cell, style=_STYLES.get(cell, ""))
    alarming = title == WRONG and cell not in ("0", NOTHING)
    return Text(cell, style="bold red" if alarming else "")
