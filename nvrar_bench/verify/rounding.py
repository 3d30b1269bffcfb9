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
from dataclasses import replace
from functools import partial
from math import expm1, frexp, log1p, sqrt

from nvrar_bench.datatypes import DataType
from nvrar_bench.verify.exact import exact_product, exact_sum, integer_mean, reciprocal_error
from nvrar_bench.verify.recipe import Combine, Formula, RecipeKind

_REFERENCE_EPSILON = 2.0**-53
# A product of more than a few roundings in 8 bits has no digit left to check.
_FACTORS = 4
_LARGEST_NORMAL = 2 * sqrt(3)
MakeFormula = Callable[[DataType, int, int], Formula]


def _sum(dtype: DataType, ranks: int, seed: int) -> Formula:
    """Return normal numbers, scaled by a power of two where sum|x| could overflow."""
    room = dtype.max_value / (_LARGEST_NORMAL * ranks)
    scale = min(1.0, 2.0 ** (frexp(room)[1] - 1))
    relative = (ranks - 1) * (dtype.epsilon + _REFERENCE_EPSILON)
    return Formula(RecipeKind.NORMALS, seed, ranks, scale=scale, relative=relative)


def _mean(dtype: DataType, ranks: int, seed: int) -> Formula:
    made, u = _sum(dtype, ranks, seed), dtype.epsilon
    reciprocal = max(u, float(reciprocal_error(dtype, ranks)))
    relative = (1 + reciprocal) * (1 + u) * (1 + made.relative) - 1
    return replace(made, parts=ranks, relative=relative, slack=ranks * dtype.smallest_subnormal)


def _product(dtype: DataType, ranks: int, seed: int) -> Formula:
    factors = min(ranks, _FACTORS)
    step = log1p(dtype.epsilon) + log1p(_REFERENCE_EPSILON)
    relative = expm1((factors - 1) * step)
    return Formula(RecipeKind.FACTORS, seed, ranks, factors=factors, relative=relative)


def _fold(_: DataType, ranks: int, seed: int, combine: Combine, odd: bool = False) -> Formula:
    return Formula(RecipeKind.FOLD, seed, ranks, combine=combine, odd=odd)


def _either(of_floats: MakeFormula, of_integers: MakeFormula) -> MakeFormula:
    def make(dtype: DataType, ranks: int, seed: int) -> Formula:
        return (of_floats if dtype.is_float else of_integers)(dtype, ranks, seed)

    return make


ROUNDING: dict[str, MakeFormula] = {
    "sum": _either(_sum, exact_sum),
    "prod": _either(_product, exact_product),
    "min": partial(_fold, combine=Combine.MINIMUM),
    "max": partial(_fold, combine=Combine.MAXIMUM),
    "avg": _either(_mean, integer_mean),
}

# Integers of the full range, whose sums and products wrap modulo 2**bits. MPI leaves open what an
# integer that overflows becomes, and Open MPI saturates some of them on some CPUs. Even factors
# would soon make every product 0 modulo a power of two.
WRAP: dict[str, MakeFormula] = {
    "sum": partial(_fold, combine=Combine.ADD),
    "prod": partial(_fold, combine=Combine.MULTIPLY, odd=True),
}
