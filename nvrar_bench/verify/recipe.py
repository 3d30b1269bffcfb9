"""How inputs and results are made: a `Formula` says it in numbers, which NumPy follows here.

On GPUs kernels/problem.cuh follows them, and makes the same elements.

Addends are integers whose sum is bounded in every order. At each index `active` ranks hold one that
is not zero and of bounded magnitude; the others hold zero. Every partial sum, in whatever order and
over whatever subset of the ranks, therefore lies within `active` times the bound. Where fewer ranks
are active than there are, which ones rotates with the index. Values are 64-bit words in two's
complement, so that one arithmetic serves int64 and uint64.

A rank draws a part of `width` magnitudes for itself; a part of `common` ones is shared by all ranks
of an index, and so is one of `choices`. The mean of independent magnitudes hardly moves from index
to index; the shared part moves it, so that a misplaced mean shows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from nvrar_bench.datatypes import DataType

# Words are pseudo-random, one per (seed, stream, rank, index), by a counter-based generator: any
# block of any rank's data can be made alone, in any order, and is the same on every machine because
# it is integer arithmetic. The mixer is the finaliser of SplitMix64 (Steele, Lea, Flood, "Fast
# splittable pseudorandom number generators", OOPSLA 2014).
HostArray = npt.NDArray[Any]
Words = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_WORD = 2**64
_SIGN_BIT = np.uint64(63)
_EVERYONE = 0  # the rank that draws what all ranks share


class RecipeKind(IntEnum):
    """What an element is made of: enum Recipe of kernels/problem.cuh."""

    ADDENDS = 0
    POWERS = 1  # signed powers of two: a product of them is a sum of exponents
    EXTREMUM = 2  # at each index one rank, in turn, holds the extremum alone; its value varies too
    NORMALS = 3
    FACTORS = 4  # at each index a few ranks in turn hold one from +-[1/2, 2], the others +-1
    FOLD = 5  # anything, reduced without rounding: extrema, integers modulo 2**bits


class Sign(IntEnum):
    """Who decides the sign of an addend."""

    PLUS = 0  # every addend is positive
    EACH = 1  # each rank has its own
    SHARED = 2  # the ranks agree at each index, so that nothing cancels


class Combine(IntEnum):
    """How a fold combines: enum Combine of kernels/problem.cuh."""

    ADD = 0
    MULTIPLY = 1
    MINIMUM = 2
    MAXIMUM = 3


class _Stream(IntEnum):
    """Which random words are drawn: enum Stream of kernels/problem.cuh."""

    OWN_ADDEND = 1
    SHARED_ADDEND = 2
    SIGNS = 3
    OWN_DISTANCE = 4
    SHARED_DISTANCE = 5
    NORMAL = 6
    FACTOR = 7
    ROTATION = 8
    BITS = 9


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
    combine: int = 0  # what a fold does: a Combine
    odd: int = 0  # 1 where a fold's integers are odd
    scale: float = 1.0  # of normal numbers
    parts: float = 1.0  # the reference is the sum divided by this
    relative: float = 0.0  # tolerance per magnitude of the reference
    slack: float = 0.0  # tolerance that is always there
    # Magnitudes of addends to choose from, in place of `width` and `common`; or none.
    choices: tuple[int, ...] = ()

    @property
    def is_tolerant(self) -> bool:
        """Whether results are float64 references with a tolerance."""
        return self.recipe in (RecipeKind.NORMALS, RecipeKind.FACTORS)


def inputs(of: Formula, dtype: DataType, rank: int, index: Words) -> HostArray:
    """Return what `rank` sends at each index."""
    return _INPUTS[of.recipe](of, dtype, rank, index)


def expected(of: Formula, dtype: DataType, index: Words) -> tuple[HostArray, HostArray | None]:
    """Return the result at each index, and a float64 tolerance or None where it must be equal."""
    if of.is_tolerant:
        return _reference(of, dtype, index)
    if of.recipe is RecipeKind.ADDENDS:
        return _quotient(of, dtype, _total(of, index)), None
    if of.recipe is RecipeKind.POWERS:
        flips = np.zeros_like(index)
        for rank in range(of.ranks):
            flips ^= _flips(of, dtype, rank, index)
        return _power(dtype, flips, _total(of, index)), None
    if of.recipe is RecipeKind.EXTREMUM:
        return _place(of, dtype, _shared_distance(of, index), np.zeros_like(index)), None
    result = _any_value(of, dtype, 0, index)
    combine = (np.add, np.multiply, np.minimum, np.maximum)[of.combine]
    for rank in range(1, of.ranks):
        result = combine(result, _any_value(of, dtype, rank, index))
    return result, None


# ---- random words --------------------------------------------------------------------------------


def mix(words: Words) -> Words:
    """Scramble each 64-bit word; a bijection, so distinct words stay distinct."""
    words = (words ^ (words >> np.uint64(30))) * _FIRST
    words = (words ^ (words >> np.uint64(27))) * _SECOND
    mixed: Words = words ^ (words >> np.uint64(31))
    return mixed


def draw(seed: int, stream: int, rank: int, index: Words) -> Words:
    """Return one 64-bit word per element of `index`; all arguments are taken modulo 2**64."""
    key: Words = np.zeros(1, np.uint64)
    for part in (seed, stream, rank):
        key = mix(key + _word(part) + _GOLDEN)
    return mix(mix(index * _GOLDEN + key) + _GOLDEN)


def _below(words: Words, bound: int) -> Words:
    """Return integers in [0, bound), one per word; the bias is below bound / 2**64."""
    remainders: Words = words % np.uint64(bound)
    return remainders


def _word(value: int) -> np.uint64:
    """Return `value` modulo 2**64: the two's complement of a negative one."""
    wrapped: np.uint64 = np.uint64(value % _WORD)
    return wrapped


def _negate_where(flags: Words, values: Words) -> Words:
    """Return -value (two's complement) where the flag is 1, the value where it is 0."""
    ones = np.uint64(0) - flags
    signed: Words = (values ^ ones) - ones
    return signed


def _turn(rank: int, ranks: int, shared: Words) -> Words:
    """Return the place of `rank` in a rotation of all ranks that differs from index to index."""
    start = _below((shared >> np.uint64(8)) & np.uint64(0xFFFFFFFF), ranks)
    return _below(start + np.uint64(rank), ranks)


def _as_dtype(words: Words, dtype: DataType) -> HostArray:
    """Return two's complement words as elements of `dtype` (wrapping for integers)."""
    if dtype.is_float:
        return words.view(np.int64).astype(np.float64).astype(dtype.numpy)
    return words.astype(dtype.numpy)


# ---- elements, as kernels/problem.cuh makes them -------------------------------------------------


def _addend(of: Formula, rank: int, index: Words, shared: Words) -> Words:
    own = draw(of.seed, _Stream.OWN_ADDEND, rank, index)
    if of.choices:
        values = np.array(of.choices, np.uint64)[_below(mix(shared), len(of.choices))]
    else:
        values = np.uint64(1) + (own & np.uint64(of.width - 1))
        if of.common > 1:
            values += _below(mix(shared), of.common)
    if of.sign != Sign.PLUS:
        values = _negate_where((own if of.sign == Sign.EACH else shared) >> _SIGN_BIT, values)
    if of.active < of.ranks:
        values = values * (_turn(rank, of.ranks, shared) < np.uint64(of.active))
    return values


def _own_addend(of: Formula, rank: int, index: Words) -> Words:
    return _addend(of, rank, index, draw(of.seed, _Stream.SHARED_ADDEND, _EVERYONE, index))


def _total(of: Formula, index: Words) -> Words:
    shared = draw(of.seed, _Stream.SHARED_ADDEND, _EVERYONE, index)
    total = np.zeros_like(index)
    for rank in range(of.ranks):
        total += _addend(of, rank, index, shared)
    return total


def _multiple(of: Formula, dtype: DataType, rank: int, index: Words) -> HostArray:
    return _as_dtype(_own_addend(of, rank, index) * np.uint64(of.multiplier), dtype)


def _quotient(of: Formula, dtype: DataType, total: Words) -> HostArray:
    """Divide toward zero."""
    if of.divisor > 1:
        flips = total >> _SIGN_BIT if dtype.is_signed else np.zeros_like(total)
        total = _negate_where(flips, _negate_where(flips, total) // np.uint64(of.divisor))
    return _as_dtype(total, dtype)


def _flips(of: Formula, dtype: DataType, rank: int, index: Words) -> Words:
    if not dtype.is_signed:
        return np.zeros_like(index)
    return _below(draw(of.seed, _Stream.SIGNS, rank, index), 2)


def _power(dtype: DataType, flips: Words, exponents: Words) -> HostArray:
    if not dtype.is_float:
        return _as_dtype(_negate_where(flips, np.uint64(1) << exponents), dtype)
    signs = 1.0 - 2.0 * flips.astype(np.float64)
    powers = np.ldexp(signs, exponents.view(np.int64).astype(np.int32))
    return powers.astype(dtype.numpy)


def _own_power(of: Formula, dtype: DataType, rank: int, index: Words) -> HostArray:
    return _power(dtype, _flips(of, dtype, rank, index), _own_addend(of, rank, index))


def _shared_distance(of: Formula, index: Words) -> Words:
    return draw(of.seed, _Stream.SHARED_DISTANCE, _EVERYONE, index)


def _place(of: Formula, dtype: DataType, shared: Words, behind: Words) -> HostArray:
    distance, start = _below(mix(shared), of.span) + behind, _word(of.origin)
    return _as_dtype(start - distance if of.is_maximum else start + distance, dtype)


def _own_place(of: Formula, dtype: DataType, rank: int, index: Words) -> HostArray:
    shared = _shared_distance(of, index)
    own = draw(of.seed, _Stream.OWN_DISTANCE, rank, index)
    loses = _turn(rank, of.ranks, shared) != np.uint64(0)
    behind = np.uint64(1) + (own & np.uint64(of.width - 1))
    return _place(of, dtype, shared, behind * loses)


def approximately_normal(words: Words) -> HostArray:
    """Return one float64 of mean 0 and variance 1 per word, at most 2 sqrt(3) in magnitude.

    The sum of four 16-bit uniforms (Irwin-Hall). Unlike Box-Muller it needs no library function, so
    ranks on different machines make bitwise the same inputs.
    """
    total = np.zeros(words.shape)
    for shift in (0, 16, 32, 48):
        total += (words >> np.uint64(shift)) & np.uint64(0xFFFF)
    # Four uniforms on [0, 65535]: mean 4 * 65535/2, variance 4 * (65536**2 - 1)/12.
    return np.asarray((total - 2 * 65535) * (sqrt(3) / 65536))


def _normal(of: Formula, dtype: DataType, rank: int, index: Words) -> HostArray:
    normal = approximately_normal(draw(of.seed, _Stream.NORMAL, rank, index))
    return np.asarray(normal * of.scale).astype(dtype.numpy)


def _factor(of: Formula, dtype: DataType, rank: int, index: Words) -> HostArray:
    words = draw(of.seed, _Stream.FACTOR, rank, index)
    start = draw(of.seed, _Stream.ROTATION, _EVERYONE, index)
    mantissa = 1.0 + (words >> np.uint64(12)).astype(np.float64) * 2.0**-52
    factor = mantissa * np.where(words & np.uint64(1), 1.0, 0.5)
    factor = np.where(_turn(rank, of.ranks, start) < np.uint64(of.factors), factor, 1.0)
    signed: HostArray = factor * np.where(words & np.uint64(2), 1.0, -1.0)
    return signed.astype(dtype.numpy)


def _any_value(of: Formula, dtype: DataType, rank: int, index: Words) -> HostArray:
    if dtype.is_float:
        return _normal(of, dtype, rank, index)
    words = draw(of.seed, _Stream.BITS, rank, index)
    return np.asarray(words | np.uint64(of.odd)).astype(dtype.numpy)


_INPUTS: dict[RecipeKind, Callable[[Formula, DataType, int, Words], HostArray]] = {
    RecipeKind.ADDENDS: _multiple,
    RecipeKind.POWERS: _own_power,
    RecipeKind.EXTREMUM: _own_place,
    RecipeKind.NORMALS: _normal,
    RecipeKind.FACTORS: _factor,
    RecipeKind.FOLD: _any_value,
}


def _reference(of: Formula, dtype: DataType, index: Words) -> tuple[HostArray, HostArray]:
    is_sum = of.recipe is RecipeKind.NORMALS
    total = np.full(index.shape, 0.0 if is_sum else 1.0)
    size = np.zeros(index.shape)
    for rank in range(of.ranks):
        values = inputs(of, dtype, rank, index).astype(np.float64)
        if is_sum:
            total += values
            size += np.abs(values)
        else:
            total *= values
    size = size if is_sum else np.abs(total)
    return total / of.parts, of.relative * (size / of.parts) + of.slack
