"""Ordinary numbers, a float64 reference, and the error an implementation may make.

With u the unit roundoff of the dtype, any order of combination and one rounding to the dtype per
step (or a wider accumulator, rounded once per phase), the computed result is within

    sum:   (n-1) u sum|x|                            [JR], [H] chapter 4
    avg:   ((1+r)(1+u)(1+(n-1)u) - 1) sum|x|/n + n s     one product, one reciprocal more
    prod:  ((1+u)^(f-1) - 1) |product|               [H] section 3.1, f factors that are not +-1
    min, max: 0

of the exact result; r is the relative error of the rounded 1/n (u, more where 1/n is subnormal), s
the smallest subnormal: a product may underflow, a sum cannot. No input can overflow in any order.
The reference itself is a float64 computation: its own n-1 roundings are added.

[H]  N. J. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., SIAM 2002.
[JR] C.-P. Jeannerod, S. M. Rump, "Improved error bounds for inner products in floating-point
     arithmetic", SIAM J. Matrix Anal. Appl. 34(2), 2013: Higham's gamma_{n-1} = (n-1)u / (1-(n-1)u)
     without its denominator, so that it also holds for 8-bit floats, where (n-1)u passes 1.

Integers have nothing to round. Their sums, products and means are those of exact.py, which no
order overflows: what becomes of an overflow is a question of its own, WRAP's. Extrema take the
full range.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import expm1, frexp, log1p, sqrt

import numpy as np

from nvrar_bench.datatypes import DataType
from nvrar_bench.verify.exact import exact_product, exact_sum, integer_mean, reciprocal_error
from nvrar_bench.verify.recipe import Formula, HostArray, Recipe, RecipeKind, Words, draw, turn

# Which stream of random words a draw belongs to; exact.py has the ones before.
_NORMAL, _FACTOR, _ROTATION, _BITS = 6, 7, 8, 9
_EVERYONE = 0
_REFERENCE_EPSILON = 2.0**-53
# A product of more than a few roundings in 8 bits has no digit left to check.
_FACTORS = 4
_LARGEST_NORMAL = 2 * sqrt(3)
Combine = Callable[[HostArray, HostArray], HostArray]
MakeRecipe = Callable[[DataType, int, int], Recipe]
# enum Combine of kernels/problem.cuh.
_COMBINE: dict[Combine, int] = {np.add: 0, np.multiply: 1, np.minimum: 2, np.maximum: 3}


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


@dataclass(frozen=True)
class _RoundedSum(Recipe):
    """Normal numbers, scaled by a power of two where sum|x| could overflow."""

    mean: bool
    tolerant = True

    def formula(self) -> Formula:
        parts, relative, slack = self._parts_and_bound()
        made = Formula(RecipeKind.NORMALS, self.seed, self.ranks, scale=self._scale())
        return replace(made, parts=parts, relative=relative, slack=slack)

    def inputs(self, rank: int, index: Words) -> HostArray:
        normal = approximately_normal(draw(self.seed, _NORMAL, rank, index))
        return np.asarray(normal * self._scale()).astype(self.dtype.numpy)

    def expected(self, index: Words) -> tuple[HostArray, HostArray]:
        total = np.zeros(index.shape)
        absolute = np.zeros(index.shape)
        for rank in range(self.ranks):
            values = self.inputs(rank, index).astype(np.float64)
            total += values
            absolute += np.abs(values)
        parts, relative, slack = self._parts_and_bound()
        return total / parts, relative * (absolute / parts) + slack

    def _scale(self) -> float:
        room = self.dtype.max_value / (_LARGEST_NORMAL * self.ranks)
        return min(1.0, 2.0 ** (frexp(room)[1] - 1))

    def _relative(self) -> float:
        return (self.ranks - 1) * (self.dtype.epsilon + _REFERENCE_EPSILON)

    def _parts_and_bound(self) -> tuple[int, float, float]:
        """What the sum is divided by; the bound, per magnitude of the result and in itself."""
        if not self.mean:
            return 1, self._relative(), 0.0
        u = self.dtype.epsilon
        reciprocal = max(u, float(reciprocal_error(self.dtype, self.ranks)))
        relative = (1 + reciprocal) * (1 + u) * (1 + self._relative()) - 1
        return self.ranks, relative, self.ranks * self.dtype.smallest_subnormal


@dataclass(frozen=True)
class _RoundedProduct(Recipe):
    """At each index a few ranks in turn hold a factor from +-[1/2, 2], the others +-1."""

    tolerant = True

    def formula(self) -> Formula:
        return Formula(
            RecipeKind.FACTORS,
            self.seed,
            self.ranks,
            factors=self._factors(),
            relative=self._relative(),
        )

    def inputs(self, rank: int, index: Words) -> HostArray:
        words = draw(self.seed, _FACTOR, rank, index)
        start = draw(self.seed, _ROTATION, _EVERYONE, index)
        mantissa = 1.0 + (words >> np.uint64(12)).astype(np.float64) * 2.0**-52
        factor = mantissa * np.where(words & np.uint64(1), 1.0, 0.5)
        factor = np.where(turn(rank, self.ranks, start) < np.uint64(self._factors()), factor, 1.0)
        signed: HostArray = factor * np.where(words & np.uint64(2), 1.0, -1.0)
        return signed.astype(self.dtype.numpy)

    def expected(self, index: Words) -> tuple[HostArray, HostArray]:
        product = np.ones(index.shape)
        for rank in range(self.ranks):
            product *= self.inputs(rank, index).astype(np.float64)
        return product, self._relative() * np.abs(product)

    def _relative(self) -> float:
        step = log1p(self.dtype.epsilon) + log1p(_REFERENCE_EPSILON)
        return expm1((self._factors() - 1) * step)

    def _factors(self) -> int:
        return min(self.ranks, _FACTORS)


@dataclass(frozen=True)
class _Fold(Recipe):
    """A reduction that never rounds: extrema of anything, integers modulo 2**bits."""

    combine: Combine
    odd: bool = False

    def formula(self) -> Formula:
        return Formula(
            RecipeKind.FOLD, self.seed, self.ranks, combine=_COMBINE[self.combine], odd=self.odd
        )

    def inputs(self, rank: int, index: Words) -> HostArray:
        if self.dtype.is_float:
            normal = approximately_normal(draw(self.seed, _NORMAL, rank, index))
            return normal.astype(self.dtype.numpy)
        words = draw(self.seed, _BITS, rank, index)
        return np.asarray(words | np.uint64(self.odd)).astype(self.dtype.numpy)

    def expected(self, index: Words) -> tuple[HostArray, None]:
        result = self.inputs(0, index)
        for rank in range(1, self.ranks):
            result = self.combine(result, self.inputs(rank, index))
        return result, None


def _either(of_floats: MakeRecipe, of_integers: MakeRecipe) -> MakeRecipe:
    def make(dtype: DataType, ranks: int, seed: int) -> Recipe:
        return (of_floats if dtype.is_float else of_integers)(dtype, ranks, seed)

    return make


ROUNDING: dict[str, MakeRecipe] = {
    "sum": _either(partial(_RoundedSum, mean=False), exact_sum),
    "prod": _either(_RoundedProduct, exact_product),
    "min": partial(_Fold, combine=np.minimum),
    "max": partial(_Fold, combine=np.maximum),
    "avg": _either(partial(_RoundedSum, mean=True), integer_mean),
}

# Integers of the full range, whose sums and products wrap modulo 2**bits. MPI leaves open what an
# integer that overflows becomes, and Open MPI saturates some of them on some CPUs. Even factors
# would soon make every product 0 modulo a power of two.
WRAP: dict[str, MakeRecipe] = {
    "sum": partial(_Fold, combine=np.add),
    "prod": partial(_Fold, combine=np.multiply, odd=True),
}
