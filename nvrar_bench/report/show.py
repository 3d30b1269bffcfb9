"""Headings, tables and notes on a console: the same text everywhere, with colour on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from textwrap import wrap

from rich.console import Console
from rich.text import Text

from nvrar_bench.report.grid import Block, Column, Grid, fitting, lines

WIDE = 400  # columns of what is no terminal: Rich cuts nothing there
FILE_WIDTH = 100  # that a table in a file keeps to
_ALARMING = ("wrong", "error", "the run", "slower")
_IN_ASCII = str.maketrans({"±": "+-", "µ": "u", "…": "..."})


def show(
    console: Console, heading: Sequence[str], grids: Sequence[Sequence[Grid]],
    notes: Sequence[str], width: int = WIDE,
) -> None:  # fmt: skip
    """Write a report; every line that is not data begins with `#`.

    Of each table there are several layouts, of which the first that fits `width` is shown. Heading
    and notes are folded to `width`.
    """
    for line in heading:
        _write(console, _folded(console, line, width))
    for layouts in grids:
        grid = fitting([_printable(each, console.encoding) for each in layouts], width)
        _write(console, [Text("#"), Text(f"# {grid.title}", "bold"), *lines(grid)])
    if notes:
        _write(console, [Text("#")])
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
    for part in wrap(line, max(width, 20), initial_indent="# ", subsequent_indent="#   ",
                     break_long_words=False, break_on_hyphens=False) or ["#"]:  # fmt: skip
        yield Text(part, style)


def _printable(grid: Grid, encoding: str) -> Grid:
    def column(one: Column) -> Column:
        return replace(
            one, title=printable(one.title, encoding), unit=printable(one.unit, encoding)
        )

    blocks = tuple(
        Block(printable(block.label, encoding), tuple(map(column, block.columns)))
        for block in grid.blocks
    )
    rows = tuple(tuple(printable(cell, encoding) for cell in row) for row in grid.rows)
    return Grid(printable(grid.title, encoding), blocks, rows)


def _write(console: Console, texts: Sequence[Text] | Iterator[Text]) -> None:
    """Write lines as they are: a terminal that is narrower folds them itself."""
    for text in texts:
        console.print(text, soft_wrap=True, highlight=False)
