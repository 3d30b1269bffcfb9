"""What a table or a chart is of: groups of results, and in each a series per backend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nvrar_bench.documents.record import RunRecord
from nvrar_bench.documents.result import Result
from nvrar_bench.statistics.points import point_of


@dataclass(frozen=True)
class Series:
    """The results of one backend: one block of columns, or one line.

    `variants` are those that ran: several where the backend chose by size. Where one size was
    measured in several variants, each is a series of its own.
    """

    backend: str
    variants: tuple[str, ...]

    @property
    def label(self) -> str:
        """Name the series as its heading does, in ASCII: it decides the width of columns."""
        if self.has_marks or self.variants == (self.backend,):
            return ascii_of(self.backend)
        return ascii_of(f"{self.backend} {self.variants[0]}".strip())

    @property
    def has_marks(self) -> bool:
        """Whether each result needs to say which variant it is."""
        return len(self.variants) > 1

    def holds(self, result: Result) -> bool:
        """Say whether `result` is of this series."""
        return result.backend == self.backend and result.variant in self.variants


def all_series(results: Sequence[Result]) -> list[Series]:
    """Return the series of a run's results, in the order in which they first come."""
    found = list[Series]()
    for backend in dict.fromkeys(result.backend for result in results):
        own = [result for result in results if result.backend == backend]
        variants = tuple(dict.fromkeys(result.variant for result in own))
        if _chose_by_size(own):
            found.append(Series(backend, variants))
        else:
            found += [Series(backend, (variant,)) for variant in variants]
    return found


def series_of(result: Result, among: Sequence[Series]) -> Series:
    """Return the series that `result` is of."""
    return next(series for series in among if series.holds(result))


def groups(record: RunRecord) -> Iterator[tuple[str, list[Result]]]:
    """Sort results by dtype, op, placement and buffers, and name what each group has in common."""
    found: dict[str, list[Result]] = {}
    for result in record.results:
        placement = result.placement.replace("_", " ")
        title = f"{result.dtype} {result.op}, {placement}, {result.buffers} buffers"
        found.setdefault(title, []).append(result)
    yield from found.items()


def ascii_of(text: str) -> str:
    """Write a name from somebody else's file as text of known width."""
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text)


def _chose_by_size(results: Sequence[Result]) -> bool:
    """Say whether no point was measured in several variants, as where they were asked for."""
    variants: dict[tuple[object, ...], set[str]] = {}
    for result in results:
        backend, variant, *where = point_of(result)
        variants.setdefault((backend, *where), set()).add(variant)
    return all(len(found) == 1 for found in variants.values())
