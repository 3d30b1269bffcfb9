"""The seam: what decides that a point has enough samples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from nvrar_bench.statistics.median import Samples


@dataclass(frozen=True, eq=False)
class Taken:
    """What one backend has done at one point so far, the same on all ranks.

    `samples` are those that count, in seconds, shape (n,); `calls` is how many were timed, those
    that a rank began late among them; `seconds` is how long its turns took, all in all.
    """

    samples: Samples
    calls: int
    seconds: float


class StoppingRule(ABC):
    """One per backend and point, for the length of its measurement."""

    @abstractmethod
    def next_turn(self, taken: Taken) -> int:
        """Return how many calls to time in the next turn; 0 is the end. `taken.calls` may be 0."""

    @abstractmethod
    def reason(self) -> str:
        """Say what ended it, as `stop_reason` of the record."""

    @abstractmethod
    def target(self) -> float | None:
        """Return the precision asked for, if one was: half-width of the interval / median."""
