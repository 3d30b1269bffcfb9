"""What a machine has, on the screen: rows by group, settings, and at the end what it can run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby, zip_longest

from rich.console import Console
from rich.table import Table
from rich.text import Text

from nvrar_bench.documents.inventory import Ability, Inventory, Row
from nvrar_bench.report.grid import printable

_NO_VARIABLE = "no environment variable that changes results is set"
_CAN, _CANNOT, _SET = "can run", "cannot", "set"
_STYLES = {"here": "green", _CAN: "green", "missing": "yellow", "wrong": "bold red", _CANNOT: "red"}
_TITLES = ("status", "what", "needed for", "found")


@dataclass(frozen=True)
class _Line:
    """One row of the table, with what stands below it."""

    status: str
    name: str
    needed_for: str
    found: str
    below: tuple[str, ...] = ()

    @property
    def cells(self) -> tuple[str, str, str]:
        """What is aligned; the last column is as long as it is."""
        return self.status, self.name, self.needed_for


_Section = tuple[str, list[_Line]]


def write(inventory: Inventory, console: Console) -> None:
    """Write an inventory; as plain text every line that is not data begins with `#`."""
    sections = list(_sections(inventory))
    heading = f"nvrar-bench {inventory.version} on {inventory.host}, {inventory.taken_at}"
    if console.is_terminal:
        _write_on_terminal(heading, sections, console)
    else:
        for line in _plain(heading, sections):
            # Not `print`, which would fold long lines: programs read them.
            console.out(printable(line, console.encoding).rstrip(), highlight=False)


def _sections(inventory: Inventory) -> Iterator[_Section]:
    # The rows of a group follow each other: groupby joins neighbours alone.
    for group, rows in groupby(inventory.rows, lambda row: row.group):
        yield group, _fixed_once([_of_row(row) for row in rows])
    settings = [_Line(_SET, name, "", value) for name, value in inventory.settings.items()]
    yield "environment variables that change results" if settings else _NO_VARIABLE, settings
    counts = ", ".join(f"{count} {status}" for status, count in inventory.summary.to_json().items())
    # A device that cannot run has no line for its backends.
    shown = [
        a for a in inventory.abilities if a.backend is None or inventory.ability(a.device).can_run
    ]
    yield f"what this machine can run ({counts})", [_of_ability(one) for one in shown]


def _fixed_once(lines: list[_Line]) -> list[_Line]:
    """Leave a fix to the last of the lines that follow each other and have the same."""
    return [
        replace(line, below=line.below[:-1])
        if line.below and following and line.below[-1:] == following.below[-1:]
        else line
        for line, following in zip_longest(lines, lines[1:])
    ]


def _of_row(row: Row) -> _Line:
    first = row.found or row.problem or ""
    below = (row.problem if row.found else None, row.fix and f"fix: {row.fix}")
    return _Line(row.status, row.name, ", ".join(row.needed_for), first, tuple(filter(None, below)))


def _of_ability(one: Ability) -> _Line:
    name = f"{one.backend} on {one.device}" if one.backend else f"device {one.device}"
    below = (f"fix: {one.fix}",) if one.fix else ()
    return _Line(_CAN if one.can_run else _CANNOT, name, "", one.reason or "", below)


def _widths(sections: list[_Section]) -> list[int]:
    cells = [_TITLES[:3], *(line.cells for _, lines in sections for line in lines)]
    return [max(map(len, column)) for column in zip(*cells, strict=True)]


def _plain(heading: str, sections: list[_Section]) -> Iterator[str]:
    widths = _widths(sections)
    yield f"# {heading}"
    yield f"# {_aligned(_TITLES[:3], widths)}  {_TITLES[3]}"
    indent = " " * (sum(widths) + 2 * len(widths))
    for title, lines in sections:
        yield from ("#", f"# {title}")
        for line in lines:
            yield f"  {_aligned(line.cells, widths)}  {line.found}"
            yield from (f"# {indent}{text}" for text in line.below)


def _aligned(cells: tuple[str, ...], widths: list[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))


def _write_on_terminal(heading: str, sections: list[_Section], console: Console) -> None:
    widths = _widths(sections)
    console.print(Text(printable(heading, console.encoding)))
    for title, lines in sections:
        console.print(Text(f"\n{title}", style="bold"))
        if lines:
            console.print(_table(lines, widths, console.encoding))
        for line in lines:
            _write_below(line, console)


def _table(lines: list[_Line], widths: list[int], encoding: str) -> Table:
    """One section; its columns are as wide as those of all the others."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for width in widths:
        table.add_column(width=width, overflow="fold")
    table.add_column(overflow="fold")
    for line in lines:
        cells = [Text(printable(text, encoding)) for text in (*line.cells, line.found)]
        cells[0].stylize(_STYLES.get(line.status, ""))
        table.add_row(*cells)
    return table


def _write_below(line: _Line, console: Console) -> None:
    """What is wrong, and what fixes it; the terminal wraps it, so that it can be copied."""
    for text in line.below:
        said = Text(printable(f"{line.name}: {text}", console.encoding))
        said.stylize(_STYLES.get(line.status, ""))
        console.print(said, soft_wrap=True)
