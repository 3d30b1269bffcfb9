"""The mean as an exact problem.

Floats. Write ranks = 2**a * m with m odd, and let every rank send ranks * k, k an integer. A
partial sum ranks * K is representable when m * |K| <= exact_limit and ranks * |K| <= max_value, and
dividing the last one gives K. Implementations also multiply by 1/ranks, before the sum (NCCL) or
after it. With r the rounded reciprocal and d = r * ranks - 1, the product K * (1 + d) rounds to K
for every K when |d| <= u/2, because K's neighbours are more than u * K away, and the one below a
power of two exactly u * K, where the tie goes to K. Where d is larger (float32: 7, 13, 14 ranks...)
only k and K that were found to come back are used. The ranks agree on the sign at each index, so
that nothing cancels and the own rounding of a wider accumulator cannot show.

Integers. The sum's inputs; the mean is the sum divided by ranks, rounded toward zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from nvrar_bench.datatypes import DataType
from nvrar_bench.verify.addends import (
    Addends,
    ListedAddends,
    ShiftedAddends,
    Sign,
    addends_within,
)
from nvrar_bench.verify.formula import Formula, Kind
from nvrar_bench.verify.hashing import Array, Words, floor_power_of_two, negate_where
from nvrar_bench.verify.recipe import Recipe, as_dtype, integer_limit

# Enough different means to tell two indices apart, few enough to try one by one.
_CANDIDATES = 1024
_A_FEW = 8


@dataclass(frozen=True)
class _FloatMean(Recipe):
    addends: Addends

    def formula(self) -> Formula:
        return Formula(Kind.ADDENDS, multiplier=self.ranks, **self.addends.terms())

    def inputs(self, rank: int, index: Words) -> Array:
        values = self.addends.values(rank, index) * np.uint64(self.ranks)
        return as_dtype(values, self.dtype)

    def expected(self, index: Words) -> tuple[Array, None]:
        return as_dtype(self.addends.total(index), self.dtype), None


@dataclass(frozen=True)
class _IntegerMean(Recipe):
    addends: Addends

    def formula(self) -> Formula:
        return Formula(Kind.ADDENDS, divisor=self.ranks, **self.addends.terms())

    def inputs(self, rank: int, index: Words) -> Array:
        return as_dtype(self.addends.values(rank, index), self.dtype)

    def expected(self, index: Words) -> tuple[Array, None]:
        total = self.addends.total(index)
        flips = np.zeros_like(total)
        if self.dtype.is_signed:
            flips = total >> np.uint64(63)
        quotient = negate_where(flips, total) // np.uint64(self.ranks)
        return as_dtype(negate_where(flips, quotient), self.dtype), None


def exact_mean(dtype: DataType, ranks: int, seed: int) -> Recipe | None:
    """Return inputs whose mean is exact, or None where there are none.

    With more integer ranks than the dtype's largest value every mean is 0: poison and canaries
    still speak, the inputs no longer do.
    """
    if not dtype.is_float:
        return integer_mean(dtype, ranks, seed)
    addends = _float_addends(dtype, ranks, seed)
    return None if addends is None else _FloatMean(dtype, ranks, seed, addends)


def integer_mean(dtype: DataType, ranks: int, seed: int) -> Recipe:
    """Return integers whose sum does not wrap.

    So few ranks are active that each may hold `ranks` or more: else one more or less would hardly
    ever change the truncated mean.
    """
    sign = Sign.SHARED if dtype.is_signed else Sign.PLUS
    limit = integer_limit(dtype)
    active = min(ranks, max(1, limit // ranks))
    addends = ShiftedAddends(seed, ranks, active, limit // active, sign)
    return _IntegerMean(dtype, ranks, seed, addends)


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
    if not choices:
        return None
    return ListedAddends(seed, ranks, active, max(choices), Sign.SHARED, choices)


def _returning(dtype: DataType, ranks: int, largest: int) -> tuple[int, ...]:
    wanted = np.arange(1, largest + 1, dtype=np.float64)
    multiples = (wanted * ranks).astype(dtype.numpy)
    reciprocal = np.array([1.0 / ranks]).astype(dtype.numpy)
    returned = (multiples * reciprocal).astype(np.float64)
    return tuple(int(k) for k in wanted[returned == wanted])
