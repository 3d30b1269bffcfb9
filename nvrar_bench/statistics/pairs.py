"""The two results at a point that are compared, and which of their samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nvrar_bench.documents.comparison import RunMedian
from nvrar_bench.documents.result import Result
from nvrar_bench.statistics.bootstrap import Spread, own_interval, spread_of
from nvrar_bench.statistics.independence import Floats
from nvrar_bench.statistics.machine_states import (
    Masks,
    Readings,
    chosen_of_both,
    reading_of,
    stretches_of,
)
from nvrar_bench.statistics.points import Counted, counted, micros

# A launch alone says nothing of its median's interval below this: even its extremes are too close.
FEWEST = 6
# The record's resolution. A call that took less was not timed.
SHORTEST_US = 1e-3
_RAW = ("samples_us", "launch_samples", "late", "stretches")


class Side:
    """Some samples of a result as one side of a comparison: 0 is the base, 1 is new.

    Every point draws the same random numbers, whatever other points there are.
    """

    def __init__(self, result: Result, some: Counted, seed: int, side: int) -> None:
        launches = [part for part in some.parts if len(part)]
        self.problem = unusable(launches)
        if launches and len(set(result.late)) == len(some.us):
            self.problem = "no samples but late ones"
        self.has_one_launch = len(launches) == 1
        self.kept_launches = (len(launches), len(result.launch_samples))  # of how many
        self.wrong = result.check.status == "failed"
        # Without one there is no interval, and no verdict but `undecided`.
        self.spread: Spread | None = None
        low = high = None
        if self.problem is None:
            self.spread = spread_of(launches, np.random.default_rng([seed, side]))
            low, high = map(micros, own_interval(self.spread))
        samples = int(some.mask.sum())
        self.measured = RunMedian(some.figure, low, high, samples, len(launches), some.left_out)


class Candidate:
    """A result, and what has been made of its samples: a base is compared with several runs.

    Its own samples are those that the median in the table of its run is of.
    """

    def __init__(self, result: Result, seed: int, side: int, one_state: bool = False) -> None:
        self.stretches = stretches_of(result.launch_samples, result.stretches)
        self.own = counted(result, one_state)
        self.result, self._seed, self._side = result, seed, side
        # Resampling takes nearly all the time of a comparison, and a base is in several.
        self._sides: dict[bytes, Side] = {}

    def side(self, some: Counted) -> Side:
        """Return what some of the samples come to."""
        key = some.mask.tobytes()
        if key not in self._sides:
            self._sides[key] = Side(self.result, some, self._seed, self._side)
        return self._sides[key]

    def in_state(self, chosen: Masks) -> Counted:
        """Count the samples that are `chosen`, shape (n,), if one of them is in time."""
        found = replace(self.own, chosen=chosen)
        return found if found.mask.any() else self.own


@dataclass(frozen=True, eq=False)
class Pair:
    """A point's two results, and what is compared of them.

    `readings_us`, in the order of states.YARDSTICKS, are the medians over the stretches of each
    side, None where unknown. `apart` says that each side was in states of the machine for long, but
    in none that the other had too; `is_itself` that both are one measurement.
    """

    base: Side
    new: Side
    readings_us: tuple[Readings | None, Readings | None]
    apart: bool
    is_itself: bool

    @classmethod
    def of(
        cls, base: Candidate, new: Candidate, *, one_state: bool = False, same_run: bool = False
    ) -> Pair:
        """Choose each side's own samples; with `one_state` those of a state that both were in."""
        some, apart = (base.own, new.own), False
        if one_state:
            chosen, apart = chosen_of_both(base.stretches, new.stretches)
            some = base.in_state(chosen[0]), new.in_state(chosen[1])
        sides = base.side(some[0]), new.side(some[1])
        readings = reading_of(base.stretches), reading_of(new.stretches)
        is_itself = same_run and all(
            getattr(base.result, key) == getattr(new.result, key) for key in _RAW
        )
        return cls(*sides, readings, apart, is_itself)


def unusable(launches: Sequence[Floats]) -> str | None:
    """Say why there is no figure of `launches`, or none with an interval; None where there is."""
    if not launches:
        return "no samples"
    if min(float(samples.min()) for samples in launches) < SHORTEST_US:
        return "samples shorter than 1 ns"
    if len(launches) == 1 and len(launches[0]) < FEWEST:
        return f"fewer than {FEWEST} samples"
    return None
