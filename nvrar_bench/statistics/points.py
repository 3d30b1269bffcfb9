"""The points of a run: what tells them apart, and which samples the figure of each is of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from nvrar_bench.documents.comparison import PointKey
from nvrar_bench.documents.record import RunRecord
from nvrar_bench.documents.result import Result
from nvrar_bench.errors import UsageError
from nvrar_bench.statistics.independence import Floats
from nvrar_bench.statistics.launches import cut, headline, medians_of
from nvrar_bench.statistics.machine_states import Masks, chosen_of, samples_of, stretches_of

POINT = (
    *("backend", "variant", "device", "buffers", "dtype", "op", "placement"),
    *("size_bytes", "count"),
)

# The backend whose speed-up over the others is the question.
SUBJECT = "nvrar"

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


@dataclass(frozen=True, eq=False)
class Counted:
    """The samples of a point, launch after launch, and which of them its figure is of."""

    us: Floats  # microseconds, shape (n,) as the masks
    launches: Sequence[int]  # how many each took
    in_time: Masks  # no rank began them late; all, where all are late
    chosen: Masks  # of the state that was asked for; all, where none was, or none of it is in time

    @classmethod
    def of(cls, us: Floats, launches: Sequence[int], late: Sequence[int], chosen: Masks) -> Counted:
        """Leave out samples at the places `late`, which exist (UsageError), or not `chosen`."""
        if sum(launches) != len(us) or not all(0 <= place < len(us) for place in late):
            raise UsageError(
                f"launch_samples add up to {sum(launches)} and late goes to "
                f"{max(late, default=0)}; allowed: {len(us)} samples, and places among them"
            )
        everything, in_time = np.ones(len(us), bool), np.ones(len(us), bool)
        in_time[list(late)] = False
        if not in_time.any():
            return cls(us, launches, everything, everything)
        return cls(us, launches, in_time, chosen if (in_time & chosen).any() else everything)

    @property
    def mask(self) -> Masks:
        """Which samples the figure is of, shape (n,)."""
        return self.in_time & self.chosen

    @property
    def left_out(self) -> int:
        """How many samples in time are of another state."""
        return int(np.sum(self.in_time & ~self.chosen))

    @property
    def parts(self) -> list[Floats]:
        """The samples of each launch that count; empty where none of a launch does."""
        return cut(self.us, self.launches, self.mask)

    @property
    def figure(self) -> float | None:
        """The figure of the point, in microseconds, as all documents show it."""
        parts = [part for part in self.parts if len(part)]
        return micros(headline(medians_of(parts))) if parts else None


def counted(result: Result, one_state: bool) -> Counted:
    """Return the samples of `result`, and which its figure is of: with `one_state` of one state."""
    stretches = stretches_of(result.launch_samples, result.stretches)
    chosen = samples_of(stretches, chosen_of(stretches, one_state)[0])
    return Counted.of(np.array(result.samples_us), result.launch_samples, result.late, chosen)


def micros(microseconds: float) -> float:
    """Round a figure as all documents have it."""
    return round(microseconds, 4)
