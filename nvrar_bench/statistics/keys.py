"""What makes two results the same point, and which results of two runs belong together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nvrar_bench.results.record import Result, RunRecord
from nvrar_bench.statistics.points import POINT, numbered, point_of
from nvrar_bench.units import format_size


@dataclass(frozen=True)
class Key:
    """A point, as `results.points.POINT`; `repeat` counts how often the run has had it before."""

    backend: str
    variant: str
    device: str
    buffers: str
    dtype: str
    op: str
    placement: str
    size_bytes: int
    count: int
    repeat: int

    @property
    def series(self) -> str:
        """Backend and variant."""
        return f"{self.backend} {self.variant}".strip()

    @property
    def size(self) -> str:
        """Bytes per rank, and which time it is."""
        again = f" #{self.repeat + 1}" if self.repeat else ""
        return f"{format_size(self.size_bytes)}{again}"

    @property
    def group(self) -> str:
        """What the points of one table have in common."""
        placement = self.placement.replace("_", " ")
        return f"{self.dtype} {self.op}, {placement}, {self.buffers} buffers, {self.device}"

    def __str__(self) -> str:
        """Name the point."""
        return f"{self.series} at {self.size} ({self.count} elements), {self.group}"


def points_of(record: RunRecord) -> Mapping[Key, Result]:
    """Return the results by point, in the order of the run."""
    return {
        Key(**dict(zip(POINT, point_of(result), strict=True)), repeat=repeat): result
        for repeat, result in numbered(record.results, point_of)
    }
