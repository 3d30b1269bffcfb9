"""Reports: each module turns a run record into one form with `write(record, destination)`.

A report reads the record alone; it never asks a backend, a device or the machine it runs on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from nvrar_bench.documents.record import RunRecord


@dataclass(frozen=True)
class Shown:
    """A report, and how much of it.

    `name` is `table`, `summary` or `tuning`; the other two are options of the table.
    """

    name: str
    wide: bool = False
    verbose: bool = False

    def write(self, record: RunRecord, console: Console) -> None:
        """Write it; what writes is imported now, after the start of ranks."""
        from nvrar_bench.report import summary, table, tuning

        if self.name == "table":
            table.write(record, console, self.wide, self.verbose)
        else:
            {"summary": summary, "tuning": tuning}[self.name].write(record, console)
