"""Inputs whose result is the same in every order of combination, bit for bit.

No step of any order rounds, overflows or underflows, even when every intermediate is rounded to the
dtype.

The mean of floats. Write ranks = 2**a * m with m odd, and let every rank send ranks * k, k an
integer. A partial sum ranks * K is representable when m * |K| <= exact_limit and ranks * |K| <=
max_value, and dividing the last one gives K. Implementations also multiply by 1/ranks, before the
sum (NCCL) or after it. With r the rounded reciprocal and d = r * ranks - 1, the product K * (1 + d)
rounds to K for every K when |d| <= u/2, because K's neighbours are more than u * K away, and the
one below a power of two exactly u * K, where the tie goes to K. Where d is larger (float32: 7, 13,
14 ranks...) only k and K that were found to come back are used. The ranks agree on the sign at each
index, so that nothing cancels and the own rounding of a wider accumulator cannot show.

The mean of integers. The sum's inputs; the mean is the sum divided by ranks, rounded toward zero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from math import frexp

import numpy as np

from nvrar_bench.datatypes import DataType
from nvrar_bench.verify.recipe import (
    Addends,
    Formula,
    HostArray,
    Recipe,
    RecipeKind,
    Sign,
    Words,
    addends_within,
    as_dtype,
    below,
    draw,
    floor_power_of_two,
    integer_limit,
    mix,
    negate_where,
    turn,
    word,
)

# Which stream of random words a draw belongs to; recipe.py has 1 and 2.
_SIGNS, _OWN, _SHARED = 3, 4, 5
_EVERYONE = 0
# Enough different means to distinguish two indices, few enough to try one by one.
_CANDIDATES = 1024
_A_FEW = 8


@dataclass(frozen=True)
class _Sum(Recipe):
    """Addends times `multiplier`; their sum is divided by `divisor`, toward zero.

    The partial sums stay in the range where the dtype holds every integer.
    """

    addends: Addends
    multiplier: int = 1
    divisor: int = 1

    def formula(self) -> Formula:
        return Formula(
            RecipeKind.ADDENDS,
            multiplier=self.multiplier,
            divisor=self.divisor,
            **vars(self.addends),
        )

    def inputs(self, rank: int, index: Words) -> HostArray:
        return as_dtype(self.addends.values(rank, index) * np.uint64(self.multiplier), self.dtype)

    def expected(self, index: Words) -> tuple[HostArray, None]:
        total = self.addends.total(index)
        if self.divisor > 1:
            flips = total >> np.uint64(63) if self.dtype.is_signed else np.zeros_like(total)
            quotient = negate_where(flips, total) // np.uint64(self.divisor)
            total = negate_where(flips, quotient)
        return as_dtype(total, self.dtype), None


@dataclass(frozen=True)
class _Product(Recipe):
    """Signed powers of two: a product of them is a sum of exponents."""

    exponents: Addends

    def formula(self) -> Formula:
        return Formula(RecipeKind.POWERS, **vars(self.exponents))

    def inputs(self, rank: int, index: Words) -> HostArray:
        return self._power(self._flips(rank, index), self.exponents.values(rank, index))

    def expected(self, index: Words) -> tuple[HostArray, None]:
        flips = np.zeros_like(index)
        for rank in range(self.ranks):
            flips ^= self._flips(rank, index)
        return self._power(flips, self.exponents.total(index)), None

    def _flips(self, rank: int, index: Words) -> Words:
        if not self.dtype.is_signed:
            return np.zeros_like(index)
        return below(draw(self.seed, _SIGNS, rank, index), 2)

    def _power(self, flips: Words, exponents: Words) -> HostArray:
        if not self.dtype.is_float:
            return as_dtype(negate_where(flips, np.uint64(1) << exponents), self.dtype)
        signs = 1.0 - 2.0 * flips.astype(np.float64)
        powers = np.ldexp(signs, exponents.view(np.int64).astype(np.int32))
        return powers.astype(self.dtype.numpy)


@dataclass(frozen=True)
class _Extremum(Recipe):
    """At each index one rank, in turn, holds the extremum alone; its value varies too."""

    maximum: bool

    def formula(self) -> Formula:
        origin, span, width = self._bounds()
        made = Formula(RecipeKind.EXTREMUM, self.seed, self.ranks, is_maximum=self.maximum)
        return replace(made, width=width, origin=origin, span=span)

    def inputs(self, rank: int, index: Words) -> HostArray:
        shared = draw(self.seed, _SHARED, _EVERYONE, index)
        own = draw(self.seed, _OWN, rank, index)
        loses = turn(rank, self.ranks, shared) != np.uint64(0)
        behind = np.uint64(1) + (own & np.uint64(self._bounds()[2] - 1))
        return self._place(shared, behind * loses)

    def expected(self, index: Words) -> tuple[HostArray, None]:
        shared = draw(self.seed, _SHARED, _EVERYONE, index)
        return self._place(shared, np.zeros_like(index)), None

    def _place(self, shared: Words, behind: Words) -> HostArray:
        origin, span, _ = self._bounds()
        distance = below(mix(shared), span) + behind
        start = word(origin)
        return as_dtype(start - distance if self.maximum else start + distance, self.dtype)

    def _bounds(self) -> tuple[int, int, int]:
        """Origin, span and width, as `Formula` has them."""
        high = integer_limit(self.dtype)
        low = -high if self.dtype.is_signed else 0
        width = floor_power_of_two((high - low) // 4)
        return high if self.maximum else low, high - low - width + 1, width


def exact_sum(dtype: DataType, ranks: int, seed: int) -> Recipe:
    """Return addends: with more ranks than the range has room for, some of them add 0."""
    sign = Sign.EACH if dtype.is_signed else Sign.PLUS
    addends = addends_within(integer_limit(dtype), sign, ranks, seed)
    return _Sum(dtype, ranks, seed, addends)


def exact_product(dtype: DataType, ranks: int, seed: int) -> Recipe:
    """Return powers of two: with more ranks than there are exponents, some of them are +-1."""
    sign = Sign.EACH if dtype.is_float else Sign.PLUS
    exponents = addends_within(exponent_limit(dtype), sign, ranks, seed)
    return _Product(dtype, ranks, seed, exponents)


def exponent_limit(dtype: DataType) -> int:
    """Return E such that 2**E, and for floats also 2**-E, is in the dtype's normal range."""
    if not dtype.is_float:
        return dtype.exact_limit.bit_length() - 1
    smallest_normal = dtype.smallest_subnormal / (2 * dtype.epsilon)
    # frexp's mantissa lies in [1/2, 1): its exponent is one more than log2's floor.
    return min(frexp(dtype.max_value)[1] - 1, 1 - frexp(smallest_normal)[1])


# ---- the mean ------------------------------------------------------------------------------------


def exact_mean(dtype: DataType, ranks: int, seed: int) -> Recipe | None:
    """Return inputs whose mean is exact, or None where there are none.

    With more integer ranks than the dtype's largest value every mean is 0: poison and canaries
    still speak, the inputs no longer do.
    """
    if not dtype.is_float:
        return integer_mean(dtype, ranks, seed)
    addends = _float_addends(dtype, ranks, seed)
    return None if addends is None else _Sum(dtype, ranks, seed, addends, multiplier=ranks)


def integer_mean(dtype: DataType, ranks: int, seed: int) -> Recipe:
    """Return integers whose sum does not wrap.

    So few ranks are active that each may hold `ranks` or more: else one more or less would hardly
    ever change the truncated mean.
    """
    sign = Sign.SHARED if dtype.is_signed else Sign.PLUS
    limit = integer_limit(dtype)
    active = min(ranks, max(1, limit // ranks))
    largest = limit // active
    width = floor_power_of_two(max(1, largest // 2))
    addends = Addends(seed, ranks, active, sign, width, common=largest - width + 1)
    return _Sum(dtype, ranks, seed, addends, divisor=ranks)


def reciprocal_error(dtype: DataType, ranks: int) -> Fraction:
    """Return |r * ranks - 1|, r being 1/ranks rounded to the dtype."""
    rounded = np.array([1.0 / ranks]).astype(dtype.numpy).astype(np.float64)
    return abs(Fraction(float(rounded[0])) * ranks - 1)


def _float_addends(dtype: DataType, ranks: int, seed: int) -> Addends | None:
    odd = ranks // (ranks & -ranks)
    limit = min(dtype.exact_limit // odd, int(dtype.max_value) // ranks)
    if limit < 1:
        return None
    if reciprocal_error(dtype, ranks) <= Fraction(dtype.epsilon) / 2:
        return addends_within(limit, Sign.SHARED, ranks, seed)
    return _addends_that_return(dtype, ranks, seed, limit)


def _addends_that_return(dtype: DataType, ranks: int, seed: int, limit: int) -> Addends | None:
    """Use only the k whose multiple comes back from ranks * k * (1/ranks).

    All active ranks of an index hold the same k and their number is a power of two: the K they sum
    to is k with another exponent, so it comes back too. As many ranks are active as leave a few k
    to choose from.
    """
    most = floor_power_of_two(min(ranks, limit))
    options = [
        (active, _returning(dtype, ranks, min(limit // active, _CANDIDATES)))
        for active in (most >> halvings for halvings in range(most.bit_length()))
    ]
    active, choices = max(options, key=lambda option: min(len(option[1]), _A_FEW))
    return Addends(seed, ranks, active, Sign.SHARED, choices=choices) if choices else None


def _returning(dtype: DataType, ranks: int, largest: int) -> tuple[int, ...]:
    wanted = np.arange(1, largest + 1, dtype=np.float64)
    multiples = (wanted * ranks).astype(dtype.numpy)
    reciprocal = np.array([1.0 / ranks]).astype(dtype.numpy)
    returned = (multiples * reciprocal).astype(np.float64)
    return tuple(int(k) for k in wanted[returned == wanted])


# None: no set of inputs is exact for this dtype and this number of ranks.
EXACT: dict[str, Callable[[DataType, int, int], Recipe | None]] = {
    "sum": exact_sum,
    "prod": exact_product,
    "min": partial(_Extremum, maximum=False),
    "max": partial(_Extremum, maximum=True),
    "avg": exact_mean,
}
