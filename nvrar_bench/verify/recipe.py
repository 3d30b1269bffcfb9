"""How inputs are made: the seam between `KnownReduction` and the kinds of inputs.

A `Formula` is a recipe as numbers, for kernels/problem.cuh, which makes the same elements on GPUs.

`Addends` are the raw material of the exact inputs, integers whose sum is bounded in every order. At
each index `active` ranks hold an integer that is not zero and of bounded magnitude; the others hold
zero. Every partial sum, in whatever order and over whatever subset of the ranks, therefore lies
within `active` times the bound. Where fewer ranks are active than there are, which ones rotates
with the index. Values are 64-bit words in two's complement, so that one arithmetic serves int64 and
uint64.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nvrar_bench.datatypes import DataType

# Words are pseudo-random, one per (seed, purpose, rank, index), by a counter-based generator: any
# block of any rank's data can be made alone, in any order, and is the same on every machine because
# it is integer arithmetic. The mixer is the finaliser of SplitMix64 (Steele, Lea, Flood, "Fast
# splittable pseudorandom number generators", OOPSLA 2014).
HostArray = npt.NDArray[Any]
Words = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_WORD = 2**64


def mix(words: Words) -> Words:
    """Scramble each 64-bit word; a bijection, so distinct words stay distinct."""
    words = (words ^ (words >> np.uint64(30))) * _FIRST
    words = (words ^ (words >> np.uint64(27))) * _SECOND
    mixed: Words = words ^ (words >> np.uint64(31))
    return mixed


def draw(seed: int, purpose: int, rank: int, index: Words) -> Words:
    """Return one 64-bit word per element of `index`.

    `purpose` keeps streams apart that serve one seed and rank. All arguments are taken modulo
    2**64.
    """
    key: Words = np.zeros(1, np.uint64)
    for part in (seed, purpose, rank):
        key = mix(key + word(part) + _GOLDEN)
    return mix(mix(index * _GOLDEN + key) + _GOLDEN)


def below(words: Words, bound: int) -> Words:
    """Return integers in [0, bound), one per word; the bias is below bound / 2**64."""
    remainders: Words = words % np.uint64(bound)
    return remainders


def word(value: int) -> np.uint64:
    """Return `value` modulo 2**64: the two's complement of a negative one."""
    wrapped: np.uint64 = np.uint64(value % _WORD)
    return wrapped


def floor_power_of_two(value: int) -> int:
    """Return the largest power of two that is at most `value` (at least 1)."""
    return 1 << (value.bit_length() - 1)


def negate_where(flags: Words, values: Words) -> Words:
    """Return -value (two's complement) where the flag is 1, the value where it is 0."""
    ones = np.uint64(0) - flags
    signed: Words = (values ^ ones) - ones
    return signed


# Which stream of random words a draw belongs to.
_OWN, _SHARED = 1, 2
_EVERYONE = 0
_SIGN_BIT = np.uint64(63)


class Sign(IntEnum):
    """Who decides the sign of an addend."""

    PLUS = 0  # every addend is positive
    EACH = 1  # each rank has its own
    SHARED = 2  # the ranks agree at each index, so that nothing cancels


@dataclass(frozen=True)
class Addends:
    """Magnitudes from 1 to width + common - 1, or from `choices`; fields as those of `Formula`.

    A rank draws a part of `width` values for itself; a part of `common` values is shared by all
    ranks of an index, and so is one of `choices`. The mean of independent magnitudes hardly moves
    from index to index; the shared part moves it, so that a misplaced mean shows.
    """

    seed: int
    ranks: int
    active: int
    sign: Sign
    width: int = 1
    common: int = 1
    choices: tuple[int, ...] = ()

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

    def _magnitude(self, own: Words, shared: Words) -> Words:
        if self.choices:
            return np.array(self.choices, np.uint64)[below(mix(shared), len(self.choices))]
        magnitude: Words = np.uint64(1) + (own & np.uint64(self.width - 1))
        if self.common > 1:
            magnitude += below(mix(shared), self.common)
        return magnitude


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
    return Addends(seed, ranks, active, sign, width=floor_power_of_two(limit // active))


class RecipeKind(IntEnum):
    """What an element is made of: enum Recipe of kernels/problem.cuh."""

    ADDENDS = 0
    POWERS = 1
    EXTREMUM = 2
    NORMALS = 3
    FACTORS = 4
    FOLD = 5


@dataclass(frozen=True)
class Formula:
    """struct Formula of kernels/problem.cuh, field by field in its order.

    Words are integers modulo 2**64.
    """

    recipe: RecipeKind  # what an element is made of; each kind uses some of the fields below
    seed: int  # as in `KnownReduction`
    ranks: int
    active: int = 0  # how many ranks hold an addend that is not zero, at one index
    sign: int = 0  # who decides the sign of an addend: a Sign
    width: int = 1  # values of what a rank draws for itself, a power of two
    common: int = 1  # values of the part of an addend that ranks share at an index
    multiplier: int = 1  # an input is the addend times this
    divisor: int = 1  # the result is the sum divided by this, toward zero
    origin: int = 0  # the extremum that no value passes
    span: int = 1  # values of the distance from there that ranks share at an index
    is_maximum: int = 0  # 1 where the origin is the largest value, 0 where it is the smallest
    factors: int = 0  # how many ranks hold a factor that is not +-1, at one index
    combine: int = 0  # a fold adds: 0, multiplies: 1, takes the smaller: 2, or the larger: 3
    odd: int = 0  # 1 where a fold's integers are odd
    scale: float = 1.0  # of normal numbers
    parts: float = 1.0  # the reference is the sum divided by this
    relative: float = 0.0  # tolerance per magnitude of the reference
    slack: float = 0.0  # tolerance that is always there
    # Magnitudes of addends to choose from, in place of `width` and `common`; or none.
    choices: tuple[int, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """The inputs of one reduction; `index` is a block of indices."""

    dtype: DataType
    ranks: int
    seed: int

    tolerant: ClassVar[bool] = False  # whether `expected` gives float64 references and a tolerance

    def inputs(self, rank: int, index: Words) -> HostArray:
        """Return what `rank` sends, in the reduction's dtype."""
        raise NotImplementedError

    def expected(self, index: Words) -> tuple[HostArray, HostArray | None]:
        """Return the result, and a float64 tolerance or None where it must be equal."""
        raise NotImplementedError

    def formula(self) -> Formula:
        """Return this recipe as numbers."""
        raise NotImplementedError


def as_dtype(words: Words, dtype: DataType) -> HostArray:
    """Return two's complement words as elements of `dtype` (wrapping for integers)."""
    if dtype.is_float:
        return words.view(np.int64).astype(np.float64).astype(dtype.numpy)
    return words.astype(dtype.numpy)


def integer_limit(dtype: DataType) -> int:
    """Return the largest magnitude in use: for integers one less than there is, the poison's."""
    return dtype.exact_limit if dtype.is_float else dtype.exact_limit - 1
