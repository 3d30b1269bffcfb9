"""What one problem's inputs are made by: the seam between `Problem` and the kinds of inputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nvrar_bench.datatypes import DataType
from nvrar_bench.verify.formula import Formula
from nvrar_bench.verify.hashing import Array, Words


@dataclass(frozen=True)
class Recipe:
    """The inputs of one problem; `index` is a block of indices, at most a few thousand."""

    dtype: DataType
    ranks: int
    seed: int

    def inputs(self, rank: int, index: Words) -> Array:
        """Return what `rank` sends, in the problem's dtype."""
        raise NotImplementedError

    def expected(self, index: Words) -> tuple[Array, Array | None]:
        """Return the result, and a float64 tolerance or None where it must be equal."""
        raise NotImplementedError

    def formula(self) -> Formula:
        """Return this recipe as numbers."""
        raise NotImplementedError

    @property
    def tolerant(self) -> bool:
        """Say whether `expected` gives float64 references with a tolerance."""
        return False


def as_dtype(words: Words, dtype: DataType) -> Array:
    """Return two's complement words as elements of `dtype` (wrapping for integers)."""
    if dtype.is_float:
        return words.view(np.int64).astype(np.float64).astype(dtype.numpy)
    return words.astype(dtype.numpy)


def integer_limit(dtype: DataType) -> int:
    """Return the largest magnitude in use: for integers one less than there is, the poison's."""
    return dtype.exact_limit if dtype.is_float else dtype.exact_limit - 1
