"""Headings, tables and notes on a console: with colour on a terminal, as plain text elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from nvrar_bench.report.grid import Grid, aligned, on_terminal

WIDE = 400  # columns of what is no terminal: nothing is cut
_ALARMING = ("wrong", "error", "the run", "slower")


def show(
    console: Console, heading: Sequence[str], grids: Sequence[Grid], notes: Sequence[str]
) -> None:
    """Write a report; as plain text every line that is not data begins with `#`."""
    write = _show_on_terminal if console.is_terminal else _show_plain
    write(console, heading, grids, notes)


def printable(text: str, encoding: str) -> str:
    """Keep a line one line, free of escape sequences, and within what the output can encode.

    Records come from other people's files, and reasons from other people's libraries.
    """
    visible = "".join(c if c.isprintable() else " " if c.isspace() else "?" for c in text)
    return visible.encode(encoding, "replace").decode(encoding)


def _show_plain(
    console: Console, heading: Sequence[str], grids: Sequence[Grid], notes: Sequence[str]
) -> None:
    lines = [f"# {line}" for line in heading]
    for grid in grids:
        lines += ["#", f"# {grid.title}", *aligned(grid)]
    lines += ["#", *(f"# {note}" for note in notes)] if notes else []
    for line in lines:
        console.out(printable(line, console.encoding), highlight=False)


def _show_on_terminal(
    console: Console, heading: Sequence[str], grids: Sequence[Grid], notes: Sequence[str]
) -> None:
    for line in heading:
        console.print(Text(printable(line, console.encoding)))
    for grid in grids:
        console.print(on_terminal(grid, console))
    for note in notes:
        style = "red" if note.startswith(_ALARMING) else "yellow"
        console.print(Text(printable(note, console.encoding), style=style))
