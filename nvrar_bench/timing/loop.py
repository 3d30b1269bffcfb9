"""The timed loop, what it fills, and the gate that it passes before each call."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Nanoseconds = npt.NDArray[np.int64]

# CLOCK_MONOTONIC, which the C++ gate reads as well.
MONOTONIC = time.perf_counter_ns


class Gate(ABC):
    """Lets all ranks of a run go at once; each pass is collective."""

    mode: str = "barrier"  # leave when the last is known to have come; `clock`: at an agreed time
    # From the agreed start to the first reading of the clock behind the gate, when nothing disturbs
    # the slowest rank; 0 in barrier mode.
    leaving_ns: float = 0.0

    @property
    def agreed_ns(self) -> int:
        """The agreed start of the last pass on this rank's monotonic clock; 0 if there is none."""
        return 0

    @abstractmethod
    def __call__(self) -> None:
        """Wait for all ranks, and leave (TimedOut)."""

    def facts(self) -> dict[str, Any]:
        """How calls are started, for the record."""
        return {"mode": self.mode}


class Yardstick(ABC):
    """What the machine does just now with work in which no backend has a part."""

    @abstractmethod
    def read(self, passes: int) -> Nanoseconds:
        """What it says on this rank, shape (3,), in the order of states.YARDSTICKS. Collective.

        Where the largest over ranks has changed, the machine has. 0 is unknown. More passes are
        more exact.
        """


@dataclass(frozen=True, eq=False)
class Timings:
    """n samples on this rank; all arrays have shape (n,).

    `starts` and `agreed` are on this rank's monotonic clock, and 0 for an operation with a clock of
    its own.
    """

    durations: Nanoseconds  # of a call: that of a batch divided by its calls
    starts: Nanoseconds  # when this rank began each sample
    agreed: Nanoseconds  # when all ranks were to begin; 0 where the gate agrees on no time

    @classmethod
    def empty(cls, n: int) -> Timings:
        """Room for `n` samples."""
        return cls(*(np.zeros(n, np.int64) for _ in range(3)))

    def __len__(self) -> int:
        return len(self.durations)

    def part(self, first: int, n: int) -> Timings:
        """Views of the samples first to first + n."""
        some = slice(first, first + n)
        return Timings(self.durations[some], self.starts[some], self.agreed[some])

    def lateness(self) -> Nanoseconds:
        """How long after the agreed time this rank began each sample; 0 where none was agreed."""
        return np.where(self.agreed > 0, self.starts - self.agreed, 0)


def time_calls(
    launch: Callable[[], object],
    prepare: Callable[[], None],
    gate: Gate,
    clock: Callable[[], int],
    timings: Timings,
    batch: int = 1,
) -> None:
    """Fill `timings` with n samples on this rank, each of `batch` calls that follow each other.

    `prepare` renews what a call consumes; `gate` then lets all ranks go at once. Both stand outside
    the timed part, which holds the calls and one reading of the clock.
    """
    durations, starts, agreed = timings.durations, timings.starts, timings.agreed
    has_own_clock = clock is not MONOTONIC
    # Before the loop: a function that is made is not timed.
    launch = repeated(launch, batch)
    for i in range(len(timings)):
        prepare()
        gate()
        start = clock()
        launch()
        durations[i] = per_call(clock() - start, batch)
        # Behind the clock, and from what it read: writing down is not timed either.
        if not has_own_clock:
            starts[i], agreed[i] = start, gate.agreed_ns


def repeated(launch: Callable[[], object], batch: int) -> Callable[[], object]:
    """Return what launches `batch` times; `launch` itself for one, so that no loop is timed."""
    if batch == 1:
        return launch

    def launch_all() -> None:
        for _ in range(batch):
            launch()

    return launch_all


def per_call(nanoseconds: float, batch: int) -> int:
    """What a call of a batch takes, to the nanosecond."""
    return round(nanoseconds / batch)
