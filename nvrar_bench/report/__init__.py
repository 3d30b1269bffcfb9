"""Reports: each module turns a run record into one form with `write(record, destination)`.

A report reads the record alone; it never asks a backend, a device or the machine it runs on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Shown:
    """A report, and how much of it.

    `name` is `table`, `summary`, `tuning` or `decode`; the other two are options of the table.
    """

    name: str
    wide: bool = False
    verbose: bool = False

    def write(self, record: Any, console: Console) -> None:
        """Write a record of the command; what writes is imported now, after the start of ranks."""
        from nvrar_bench.report import decode, table, tuning

        if self.name == "table":
            table.write(record, console, self.wide, self.verbose)
        elif self.name == "summary":
            for line in table.summary(record):
                console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            (tuning if self.name == "tuning" else decode).write(record, console)
