"""Integers of the full range, whose sums and products wrap modulo 2**bits.

A question of its own: MPI leaves open what becomes of an integer that overflows, and Open MPI
saturates some of them on some CPUs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nvrar_bench.datatypes import DataType
from nvrar_bench.verify.recipe import Recipe
from nvrar_bench.verify.rounding import Fold


def _sum(dtype: DataType, ranks: int, seed: int) -> Recipe:
    return Fold(dtype, ranks, seed, np.add)


def _product(dtype: DataType, ranks: int, seed: int) -> Recipe:
    # Even factors would soon make every product 0 modulo a power of two.
    return Fold(dtype, ranks, seed, np.multiply, odd=True)


# Of integer dtypes alone.
WRAP: dict[str, Callable[[DataType, int, int], Recipe]] = {"sum": _sum, "prod": _product}
