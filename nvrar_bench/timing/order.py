"""The order of measurement: seeded, and new in every round."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TypeVar

_T = TypeVar("_T")


class Order:
    """Random orders, to be drawn again from the same seed, launch and block of points.

    A drift of the machine, or what one point leaves in the caches for the next, then meets all
    points alike instead of always the same.
    """

    def __init__(self, seed: int, launch: int, block: int) -> None:
        self._random = Random(f"{seed}/{launch}/{block}")  # noqa: S311 - to be drawn again

    def draw(self, points: Sequence[_T]) -> list[_T]:
        """Return `points` in the next random order."""
        return self._random.sample(points, len(points))
