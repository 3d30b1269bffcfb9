"""Tables and notes as text, the same on a terminal and in a file; a terminal adds colour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from textwrap import wrap

from rich.console import Console
from rich.text import Text

NOTHING = "-"
WRONG = "#wrong"
VERDICT = "verdict"
_STYLES = {"slower": "bold red", "wrong": "bold red", "faster": "green", "undecided": "yellow"}
_HEAD = "bold"


@dataclass(frozen=True)
class Column:
    """Title and unit of a column, in the manner of nccl-tests; `gap` is the space before it."""

    title: str
    unit: str = ""
    gap: int = 2
    is_left: bool = False


@dataclass(frozen=True)
class ColumnGroup:
    """Columns under one heading."""

    label: str
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class Grid:
    """Rows of cells, one for each column of the groups; `title` is what all rows share."""

    title: str
    groups: tuple[ColumnGroup, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def columns(self) -> tuple[Column, ...]:
        """All columns, group by group; the first is a space away from the mark of its line."""
        first, *others = (column for group in self.groups for column in group.columns)
        return replace(first, gap=1), *others


def plain_columns(titles: Sequence[str]) -> tuple[ColumnGroup, ...]:
    """Return columns without units, under no heading."""
    return (ColumnGroup("", tuple(Column(title) for title in titles)),)


def _width(grid: Grid) -> int:
    """Return how many characters the widest line of `grid` has."""
    return 1 + sum(column.gap + room for column, room in _rooms(grid)[0])


def lines(grid: Grid) -> Iterator[Text]:
    """Write a grid as lines of equal columns; those of headings begin with `#`."""
    rooms, labels = _rooms(grid)
    if labels:
        yield Text("#" + labels, _HEAD)
    yield _line("#", [column.title for column, _ in rooms], rooms, is_head=True)
    if any(column.unit for column, _ in rooms):
        yield _line("#", [column.unit for column, _ in rooms], rooms, is_head=True)
    for row in grid.rows:
        yield _line(" ", row, rooms)


_Rooms = list[tuple[Column, int]]


def _rooms(grid: Grid) -> tuple[_Rooms, str]:
    """Return the columns with their widths, and the line of labels above them.

    A label that is longer than its columns widens the first of them.
    """
    columns = grid.columns
    widths = [
        max(map(len, (column.title, column.unit, *(row[i] for row in grid.rows))))
        for i, column in enumerate(columns)
    ]
    labels, start = "", 0
    for group in grid.groups:
        end = start + len(group.columns)
        gaps = sum(column.gap for column in columns[start + 1 : end])
        widths[start] += max(0, len(group.label) - sum(widths[start:end]) - gaps)
        labels += " " * columns[start].gap + group.label.center(sum(widths[start:end]) + gaps)
        start = end
    return list(zip(columns, widths, strict=True)), labels.rstrip()


def _line(mark: str, cells: Sequence[str], rooms: _Rooms, is_head: bool = False) -> Text:
    line = Text(mark, _HEAD if is_head else "")
    for cell, (column, room) in zip(cells, rooms, strict=True):
        padded = cell.ljust(room) if column.is_left else cell.rjust(room)
        line.append(" " * column.gap).append(padded, None if is_head else _style(column, cell))
    line.rstrip()
    return line


def _style(column: Column, cell: str) -> str | None:
    if column.title == VERDICT:
        return _STYLES.get(cell)
    is_alarming = column.title == WRONG and cell not in ("0", NOTHING)
    return "bold red" if is_alarming else None


WIDE = 400  # columns of what is no terminal: Rich cuts nothing there
FILE_WIDTH = 100  # that a table in a file keeps to
_ALARMING = ("wrong", "error", "the run", "slower")
_IN_ASCII = str.maketrans({"±": "+-", "µ": "u", "…": "..."})


def show(
    console: Console,
    heading: Sequence[str],
    grids: Sequence[Sequence[Grid]],
    notes: Sequence[str],
    width: int = WIDE,
    conclusions: Sequence[str] = (),
) -> None:
    """Write a report; every line that is not data begins with `#`.

    Of each table there are several layouts, of which the first that fits `width` is shown. Heading,
    conclusions and notes are folded to `width`.
    """
    for line in heading:
        _write(console, _folded(console, line, width))
    for layouts in grids:
        found = [_printable(each, console.encoding) for each in layouts]
        grid = next((each for each in found if _width(each) <= width), found[-1])
        _write(console, [Text("#"), Text(f"# {grid.title}", "bold"), *lines(grid)])
    if notes or conclusions:
        _write(console, [Text("#")])
    for line in conclusions:
        _write(console, _folded(console, line, width, "bold"))
    for note in notes:
        style = "red" if note.startswith(_ALARMING) else "yellow"
        _write(console, _folded(console, note, width, style))


def screen_width(console: Console) -> int:
    """Return how wide a table may be: as the terminal, or FILE_WIDTH in a file."""
    return console.width if console.is_terminal else FILE_WIDTH


def printable(text: str, encoding: str) -> str:
    """Keep a line one line, free of escape sequences, and within what the output can encode.

    Records come from other people's files, and reasons from other people's libraries.
    """
    visible = "".join(c if c.isprintable() else " " if c.isspace() else "?" for c in text)
    try:
        visible.encode(encoding)
    except UnicodeEncodeError:
        return visible.translate(_IN_ASCII).encode(encoding, "replace").decode(encoding)
    return visible


def _folded(console: Console, text: str, width: int, style: str = "") -> Iterator[Text]:
    """Cut a line between words; what follows is indented."""
    line = printable(text, console.encoding)
    parts = wrap(
        line,
        max(width, 20),
        initial_indent="# ",
        subsequent_indent="#   ",
        break_long_words=False,  # people copy paths and options from here
        break_on_hyphens=False,
    )
    for part in parts or ["#"]:
        yield Text(part, style)


def _printable(grid: Grid, encoding: str) -> Grid:
    write = partial(printable, encoding=encoding)

    def column(one: Column) -> Column:
        return replace(one, title=write(one.title), unit=write(one.unit))

    groups = tuple(
        ColumnGroup(write(group.label), tuple(map(column, group.columns))) for group in grid.groups
    )
    return Grid(write(grid.title), groups, tuple(tuple(map(write, row)) for row in grid.rows))


def _write(console: Console, texts: Sequence[Text] | Iterator[Text]) -> None:
    """Write lines as they are: a terminal that is narrower folds them itself."""
    for text in texts:
        console.print(text, soft_wrap=True, highlight=False)
