"""Integers whose sum is bounded in every order: the raw material of the exact inputs.

At each index `active` ranks hold a non-zero integer of magnitude at most `largest`; the others hold
zero. Every partial sum, in whatever order and over whatever subset of the ranks, therefore lies
within active * largest. Where fewer ranks are active than there are, which ones rotates with the
index. Values are 64-bit words in two's complement, so that one arithmetic serves int64 and uint64.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from nvrar_bench.verify.hashing import (
    Words,
    below,
    draw,
    floor_power_of_two,
    mix,
    negate_where,
)

# Which stream of random words a draw belongs to.
_OWN, _SHARED = 1, 2
_EVERYONE = 0
_SIGN_BIT = np.uint64(63)


class Sign(Enum):
    """Who decides the sign of an addend."""

    PLUS = 0  # every addend is positive
    EACH = 1  # each rank has its own
    SHARED = 2  # the ranks agree at each index, so that nothing cancels


@dataclass(frozen=True)
class Addends:
    """Magnitudes drawn by each rank for itself, from 1 to the power of two below `largest`."""

    seed: int
    ranks: int
    active: int
    largest: int
    sign: Sign

    def values(self, rank: int, index: Words) -> Words:
        """Return what `rank` adds at each index."""
        return self._values(rank, index, self._shared(index))

    def total(self, index: Words) -> Words:
        """Return the sum over all ranks at each index."""
        shared = self._shared(index)
        total = np.zeros_like(index)
        for rank in range(self.ranks):
            total += self._values(rank, index, shared)
        return total

    def terms(self) -> dict[str, Any]:
        """What a `Formula` says of these addends."""
        return {
            "seed": self.seed, "ranks": self.ranks, "active": self.active, "sign": self.sign.value,
            **self._sizes(),
        }  # fmt: skip

    def _sizes(self) -> dict[str, Any]:
        return {"width": floor_power_of_two(self.largest)}

    def _shared(self, index: Words) -> Words:
        return draw(self.seed, _SHARED, _EVERYONE, index)

    def _values(self, rank: int, index: Words, shared: Words) -> Words:
        own = draw(self.seed, _OWN, rank, index)
        values = self._magnitude(own, shared)
        if self.sign is not Sign.PLUS:
            chooser = own if self.sign is Sign.EACH else shared
            values = negate_where(chooser >> _SIGN_BIT, values)
        if self.active < self.ranks:
            values = values * (turn(rank, self.ranks, shared) < np.uint64(self.active))
        return values

    def _magnitude(self, own: Words, shared: Words) -> Words:  # noqa: ARG002
        magnitude: Words = np.uint64(1) + (own & np.uint64(floor_power_of_two(self.largest) - 1))
        return magnitude


@dataclass(frozen=True)
class ShiftedAddends(Addends):
    """A part common to all ranks plus a part of each rank's own.

    The mean of independent magnitudes hardly moves from index to index; the common part moves it,
    so that a misplaced mean shows.
    """

    def _sizes(self) -> dict[str, Any]:
        width = floor_power_of_two(max(1, self.largest // 2))
        return {"width": width, "common": self.largest - width + 1}

    def _magnitude(self, own: Words, shared: Words) -> Words:
        sizes = self._sizes()
        common = below(mix(shared), sizes["common"])
        magnitude: Words = np.uint64(1) + common + (own & np.uint64(sizes["width"] - 1))
        return magnitude


@dataclass(frozen=True)
class ListedAddends(Addends):
    """Magnitudes taken from `choices`, the same one for all active ranks of an index."""

    choices: tuple[int, ...]

    def _sizes(self) -> dict[str, Any]:
        return {"choices": self.choices}

    def _magnitude(self, own: Words, shared: Words) -> Words:  # noqa: ARG002
        return np.array(self.choices, np.uint64)[below(mix(shared), len(self.choices))]


def turn(rank: int, ranks: int, shared: Words) -> Words:
    """Return the place of `rank` in a rotation of all ranks that differs from index to index."""
    start = below((shared >> np.uint64(8)) & np.uint64(0xFFFFFFFF), ranks)
    return below(start + np.uint64(rank), ranks)


def addends_within(limit: int, sign: Sign, ranks: int, seed: int) -> Addends:
    """Return addends whose absolute values sum to at most `limit` (at least 1).

    Signs alone make the sum vary with the index, so each of up to `limit` ranks may be active.
    Without signs of their own the active ranks need two magnitudes to choose from, so at most
    limit // 2 of them are: otherwise the sum would be one constant.
    """
    most = limit if sign is Sign.EACH else max(1, limit // 2)
    active = min(ranks, most)
    return Addends(seed, ranks, active, limit // active, sign)
