"""What tells the results of a run apart, and results at the same point from each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from nvrar_bench.documents.comparison import PointKey
from nvrar_bench.documents.record import RunRecord
from nvrar_bench.documents.result import Result

POINT = (
    "backend", "variant", "device", "buffers", "dtype", "op", "placement", "size_bytes", "count",
)  # fmt: skip

_Item = TypeVar("_Item")


def point_of(result: Result) -> tuple[Any, ...]:
    """Return the values of POINT."""
    return tuple(getattr(result, key) for key in POINT)


def numbered(
    items: Iterable[_Item], key: Callable[[_Item], Hashable]
) -> Iterator[tuple[int, _Item]]:
    """Yield each item with how many of the same `key` are before it."""
    seen = Counter[Hashable]()
    for item in items:
        yield seen[key(item)], item
        seen[key(item)] += 1


def points_of(record: RunRecord) -> Mapping[PointKey, Result]:
    """Return the results by point, in the order of the run."""
    return {
        PointKey(**dict(zip(POINT, point_of(result), strict=True)), repeat=repeat): result
        for repeat, result in numbered(record.results, point_of)
    }
