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
from dataclasses import replace
from fractions import Fraction
from functools import partial
from math import frexp

import numpy as np

from nvrar_bench.datatypes import DataType
from nvrar_bench.verify.recipe import Formula, RecipeKind, Sign

# Enough different means to distinguish two indices, few enough to try one by one.
_CANDIDATES = 1024
_A_FEW = 8


def addends_within(limit: int, sign: Sign, ranks: int, seed: int) -> Formula:
    """Return addends whose absolute values sum to at most `limit` (at least 1).

    Signs alone make the sum vary with the index, so each of up to `limit` ranks may be active.
    Without signs of their own the active ranks need two magnitudes to choose from, so at most
    limit // 2 of them are: otherwise the sum would be one constant.
    """
    most = limit if sign is Sign.EACH else max(1, limit // 2)
    active = min(ranks, most)
    width = floor_power_of_two(limit // active)
    return Formula(RecipeKind.ADDENDS, seed, ranks, active, sign, width)


def exact_sum(dtype: DataType, ranks: int, seed: int) -> Formula:
    """Return addends: with more ranks than the range has room for, some of them add 0."""
    sign = Sign.EACH if dtype.is_signed else Sign.PLUS
    return addends_within(integer_limit(dtype), sign, ranks, seed)


def exact_product(dtype: DataType, ranks: int, seed: int) -> Formula:
    """Return powers of two: with more ranks than there are exponents, some of them are +-1."""
    sign = Sign.EACH if dtype.is_float else Sign.PLUS
    exponents = addends_within(exponent_limit(dtype), sign, ranks, seed)
    return replace(exponents, recipe=RecipeKind.POWERS)


def extremum(dtype: DataType, ranks: int, seed: int, is_maximum: bool) -> Formula:
    """Return values of which at each index one rank holds the extremum alone."""
    high = integer_limit(dtype)
    low = -high if dtype.is_signed else 0
    width = floor_power_of_two((high - low) // 4)
    made = Formula(RecipeKind.EXTREMUM, seed, ranks, width=width, is_maximum=is_maximum)
    return replace(made, origin=high if is_maximum else low, span=high - low - width + 1)


def floor_power_of_two(value: int) -> int:
    """Return the largest power of two that is at most `value` (at least 1)."""
    return 1 << (value.bit_length() - 1)


def integer_limit(dtype: DataType) -> int:
    """Return the largest magnitude in use: for integers one less than there is, the poison's."""
    return dtype.exact_limit if dtype.is_float else dtype.exact_limit - 1


def exponent_limit(dtype: DataType) -> int:
    """Return E such that 2**E, and for floats also 2**-E, is in the dtype's normal range."""
    if not dtype.is_float:
        return dtype.exact_limit.bit_length() - 1
    smallest_normal = dtype.smallest_subnormal / (2 * dtype.epsilon)
    # frexp's mantissa lies in [1/2, 1): its exponent is one more than log2's floor.
    return min(frexp(dtype.max_value)[1] - 1, 1 - frexp(smallest_normal)[1])


# ---- the mean ------------------------------------------------------------------------------------


def exact_mean(dtype: DataType, ranks: int, seed: int) -> Formula | None:
    """Return inputs whose mean is exact, or None where there are none.

    With more integer ranks than the dtype's largest value every mean is 0: poison and canaries
    still speak, the inputs no longer do.
    """
    if not dtype.is_float:
        return integer_mean(dtype, ranks, seed)
    addends = _float_addends(dtype, ranks, seed)
    return None if addends is None else replace(addends, multiplier=ranks)


def integer_mean(dtype: DataType, ranks: int, seed: int) -> Formula:
    """Return integers whose sum does not wrap.

    So few ranks are active that each may hold `ranks` or more: else one more or less would hardly
    ever change the truncated mean.
    """
    sign = Sign.SHARED if dtype.is_signed else Sign.PLUS
    limit = integer_limit(dtype)
    active = min(ranks, max(1, limit // ranks))
    largest = limit // active
    width = floor_power_of_two(max(1, largest // 2))
    made = Formula(RecipeKind.ADDENDS, seed, ranks, active, sign, width)
    return replace(made, common=largest - width + 1, divisor=ranks)


def reciprocal_error(dtype: DataType, ranks: int) -> Fraction:
    """Return |r * ranks - 1|, r being 1/ranks rounded to the dtype."""
    rounded = np.array([1.0 / ranks]).astype(dtype.numpy).astype(np.float64)
    return abs(Fraction(float(rounded[0])) * ranks - 1)


def _float_addends(dtype: DataType, ranks: int, seed: int) -> Formula | None:
    odd = ranks // (ranks & -ranks)
    limit = min(dtype.exact_limit // odd, int(dtype.max_value) // ranks)
    if limit < 1:
        return None
    if reciprocal_error(dtype, ranks) <= Fraction(dtype.epsilon) / 2:
        return addends_within(limit, Sign.SHARED, ranks, seed)
    return _addends_that_return(dtype, ranks, seed, limit)


def _addends_that_return(dtype: DataType, ranks: int, seed: int, limit: int) -> Formula | None:
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
    made = Formula(RecipeKind.ADDENDS, seed, ranks, active, Sign.SHARED, choices=choices)
    return made if choices else None


def _returning(dtype: DataType, ranks: int, largest: int) -> tuple[int, ...]:
    wanted = np.arange(1, largest + 1, dtype=np.float64)
    multiples = (wanted * ranks).astype(dtype.numpy)
    reciprocal = np.array([1.0 / ranks]).astype(dtype.numpy)
    returned = (multiples * reciprocal).astype(np.float64)
    return tuple(int(k) for k in wanted[returned == wanted])


# None: no set of inputs is exact for this dtype and this number of ranks.
EXACT: dict[str, Callable[[DataType, int, int], Formula | None]] = {
    "sum": exact_sum,
    "prod": exact_product,
    "min": partial(extremum, is_maximum=False),
    "max": partial(extremum, is_maximum=True),
    "avg": exact_mean,
}
