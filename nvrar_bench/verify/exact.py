"""Inputs whose result is the same in every order of combination, bit for bit.

No step of any order rounds, overflows or underflows, even when every intermediate is rounded to the
dtype. The mean has a file of its own, mean.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import frexp

import numpy as np

from nvrar_bench.datatypes import DataType
from nvrar_bench.verify.addends import Addends, Sign, addends_within, turn
from nvrar_bench.verify.formula import Formula, Kind
from nvrar_bench.verify.hashing import (
    Array,
    Words,
    below,
    draw,
    floor_power_of_two,
    mix,
    negate_where,
    word,
)
from nvrar_bench.verify.mean import exact_mean
from nvrar_bench.verify.recipe import Recipe, as_dtype, integer_limit

# Which stream of random words a draw belongs to; addends.py has 1 and 2.
_SIGNS, _OWN, _SHARED = 3, 4, 5
_EVERYONE = 0


@dataclass(frozen=True)
class _Sum(Recipe):
    """Integers whose partial sums stay in the range where the dtype holds every integer."""

    addends: Addends

    def formula(self) -> Formula:
        return Formula(Kind.ADDENDS, **self.addends.terms())

    def inputs(self, rank: int, index: Words) -> Array:
        return as_dtype(self.addends.values(rank, index), self.dtype)

    def expected(self, index: Words) -> tuple[Array, None]:
        return as_dtype(self.addends.total(index), self.dtype), None


@dataclass(frozen=True)
class _Product(Recipe):
    """Signed powers of two: a product of them is a sum of exponents."""

    exponents: Addends

    def formula(self) -> Formula:
        return Formula(Kind.POWERS, **self.exponents.terms())

    def inputs(self, rank: int, index: Words) -> Array:
        return self._power(self._flips(rank, index), self.exponents.values(rank, index))

    def expected(self, index: Words) -> tuple[Array, None]:
        flips = np.zeros_like(index)
        for rank in range(self.ranks):
            flips ^= self._flips(rank, index)
        return self._power(flips, self.exponents.total(index)), None

    def _flips(self, rank: int, index: Words) -> Words:
        if not self.dtype.is_signed:
            return np.zeros_like(index)
        return below(draw(self.seed, _SIGNS, rank, index), 2)

    def _power(self, flips: Words, exponents: Words) -> Array:
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
        return Formula(
            Kind.EXTREMUM, self.seed, self.ranks, width=self._width(), origin=self._origin(),
            span=self._span(), is_maximum=self.maximum,
        )  # fmt: skip

    def inputs(self, rank: int, index: Words) -> Array:
        shared = draw(self.seed, _SHARED, _EVERYONE, index)
        own = draw(self.seed, _OWN, rank, index)
        loses = turn(rank, self.ranks, shared) != np.uint64(0)
        behind = np.uint64(1) + (own & np.uint64(self._width() - 1))
        return self._place(shared, behind * loses)

    def expected(self, index: Words) -> tuple[Array, None]:
        shared = draw(self.seed, _SHARED, _EVERYONE, index)
        return self._place(shared, np.zeros_like(index)), None

    def _place(self, shared: Words, behind: Words) -> Array:
        distance = below(mix(shared), self._span()) + behind
        origin = word(self._origin())
        return as_dtype(origin - distance if self.maximum else origin + distance, self.dtype)

    def _origin(self) -> int:
        low, high = self._range()
        return high if self.maximum else low

    def _span(self) -> int:
        low, high = self._range()
        return high - low - self._width() + 1

    def _range(self) -> tuple[int, int]:
        high = integer_limit(self.dtype)
        return (-high if self.dtype.is_signed else 0), high

    def _width(self) -> int:
        low, high = self._range()
        return floor_power_of_two((high - low) // 4)


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


def _extremum(dtype: DataType, ranks: int, seed: int, *, maximum: bool) -> Recipe:
    return _Extremum(dtype, ranks, seed, maximum)


def exponent_limit(dtype: DataType) -> int:
    """Return E such that 2**E, and for floats also 2**-E, is in the dtype's normal range."""
    if not dtype.is_float:
        return dtype.exact_limit.bit_length() - 1
    smallest_normal = dtype.smallest_subnormal / (2 * dtype.epsilon)
    # frexp's mantissa lies in [1/2, 1): its exponent is one more than log2's floor.
    return min(frexp(dtype.max_value)[1] - 1, 1 - frexp(smallest_normal)[1])


# None: no set of inputs is exact for this dtype and this number of ranks.
EXACT: dict[str, Callable[[DataType, int, int], Recipe | None]] = {
    "sum": exact_sum,
    "prod": exact_product,
    "min": partial(_extremum, maximum=False),
    "max": partial(_extremum, maximum=True),
    "avg": exact_mean,
}
