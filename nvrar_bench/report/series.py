"""What a table or a chart is of: groups of results, and in each a series per backend."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nvrar_bench.results.record import Result, RunRecord


@dataclass(frozen=True)
class Series:
    """The results of one backend in one variant: one block of columns, or one line."""

    backend: str
    variant: str

    @property
    def label(self) -> str:
        """Name the series as its heading does, in ASCII: it decides the width of columns."""
        label = f"{self.backend} {self.variant}".strip()
        return "".join(c if c.isascii() and c.isprintable() else "?" for c in label)


def series_of(result: Result) -> Series:
    """Return the series that `result` is of."""
    return Series(result.backend, result.variant)


def groups(record: RunRecord) -> Iterator[tuple[str, list[Result]]]:
    """Sort results by dtype, op, placement and buffers, and name what each group has in common."""
    found: dict[str, list[Result]] = {}
    for result in record.results:
        placement = result.placement.replace("_", " ")
        title = f"{result.dtype} {result.op}, {placement}, {result.buffers} buffers"
        found.setdefault(title, []).append(result)
    yield from found.items()
