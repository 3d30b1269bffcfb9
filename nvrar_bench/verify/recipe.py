"""How inputs are made: the seam between `KnownReduction` and the kinds of inputs.

A `Formula` is a recipe as numbers, for kernels/problem.cuh, which makes the same elements on GPUs.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

import numpy as np

from nvrar_bench.datatypes import DataType
from nvrar_bench.verify.hashing import HostArray, Words


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

    Attributes:
        recipe: what an element is made of; each kind uses some of the fields below.
        seed, ranks: as in `KnownReduction`.
        active: how many ranks hold an addend that is not zero, at one index.
        sign: who decides the sign of an addend: a Sign.
        width: values of what a rank draws for itself, a power of two.
        common: values of the part of an addend that ranks share at an index.
        multiplier: an input is the addend times this.
        divisor: the result is the sum divided by this, toward zero.
        origin: the extremum that no value passes.
        span: values of the distance from there that ranks share at an index.
        is_maximum: 1 where the origin is the largest value, 0 where it is the smallest.
        factors: how many ranks hold a factor that is not +-1, at one index.
        combine: how a fold goes on: 0 adds, 1 multiplies, 2 and 3 take the smaller and the larger.
        odd: 1 where a fold's integers are odd.
        scale: of normal numbers.
        parts: the reference is the sum divided by this.
        relative: tolerance per magnitude of the reference.
        slack: tolerance that is always there.
        choices: magnitudes of addends to choose from, in place of `width` and `common`; or none.
    """

    recipe: RecipeKind
    seed: int
    ranks: int
    active: int = 0
    sign: int = 0
    width: int = 1
    common: int = 1
    multiplier: int = 1
    divisor: int = 1
    origin: int = 0
    span: int = 1
    is_maximum: int = 0
    factors: int = 0
    combine: int = 0
    odd: int = 0
    scale: float = 1.0
    parts: float = 1.0
    relative: float = 0.0
    slack: float = 0.0
    choices: tuple[int, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """The inputs of one reduction; `index` is a block of indices, at most a few thousand."""

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
