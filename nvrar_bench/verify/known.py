"""One all-reduce whose result is known: every rank's inputs, and what must come back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_args

import numpy as np

from nvrar_bench import datatypes
from nvrar_bench.errors import UsageError
from nvrar_bench.plan import CheckMode
from nvrar_bench.verify.exact import EXACT
from nvrar_bench.verify.hashing import HostArray, Words
from nvrar_bench.verify.recipe import Formula, Recipe
from nvrar_bench.verify.rounding import ROUNDING, WRAP

# Temporaries are 64-bit words: 128 KiB each, so that a block stays in the cache.
_BLOCK = 16384


@dataclass(frozen=True)
class Expected:
    """What every rank must hold after the all-reduce.

    Attributes:
        value: shape (count,); the reduction's dtype, or float64 references with a tolerance. In the
            memory of the device that made it; `KnownReduction.expected` makes NumPy's arrays.
        tolerance: shape (count,), float64, absolute; None where the result must be equal.
        mode: the mode of the inputs, as `KnownReduction.mode_used` has it.

    """

    value: Any
    tolerance: Any
    mode: CheckMode = "exact"


@dataclass(frozen=True)
class KnownReduction:
    """Inputs of `ranks` ranks for one dtype and op; two seeds give unrelated inputs.

    Raises UsageError for a dtype, op or mode that does not exist, for `wrap` where nothing wraps,
    and for fewer than one rank.
    """

    dtype: str
    op: str
    ranks: int
    mode: CheckMode
    seed: int

    def __post_init__(self) -> None:
        datatypes.dtype(self.dtype)
        datatypes.op(self.op)
        if self.mode not in get_args(CheckMode):
            raise UsageError(
                f"unknown mode {self.mode!r}; allowed: {', '.join(get_args(CheckMode))}"
            )
        if self.mode == "wrap" and not datatypes.can_wrap(self.dtype, self.op):
            raise UsageError(
                f"mode wrap is of sums and products of integers, not of {self.dtype} {self.op}"
            )
        if self.ranks < 1:
            raise UsageError(f"ranks is {self.ranks}; allowed: 1 and more")

    @property
    def mode_used(self) -> CheckMode:
        """The mode of the inputs: `rounding` also where no exact inputs exist."""
        return self._made[0]

    @property
    def formula(self) -> Formula:
        """How `inputs` and `expected` are made, as numbers."""
        return self._recipe.formula()

    @property
    def is_tolerant(self) -> bool:
        """Whether `expected` has a tolerance."""
        return self._recipe.tolerant

    def inputs(self, rank: int, count: int) -> HostArray:
        """Return what `rank` sends: shape (count,), the reduction's dtype.

        The first m elements do not depend on the count. UsageError for a rank or count outside the
        reduction.
        """
        if not 0 <= rank < self.ranks:
            raise UsageError(f"rank is {rank}; allowed: 0 to {self.ranks - 1}")
        values = np.empty(_checked(count), datatypes.dtype(self.dtype).numpy)
        for block, index in _blocks(count):
            values[block] = self._recipe.inputs(rank, index)
        return values

    def expected(self, count: int) -> Expected:
        """Return the result over all ranks; takes ranks * count steps of work.

        The first m elements do not depend on the count.
        """
        tolerant = self._recipe.tolerant
        dtype = np.dtype(np.float64) if tolerant else datatypes.dtype(self.dtype).numpy
        value = np.empty(_checked(count), dtype)
        tolerance = np.empty(count, np.float64) if tolerant else None
        for block, index in _blocks(count):
            value[block], bound = self._recipe.expected(index)
            if tolerance is not None:
                tolerance[block] = bound
        return Expected(value, tolerance, self.mode_used)

    @property
    def _recipe(self) -> Recipe:
        return self._made[1]

    @cached_property
    def _made(self) -> tuple[CheckMode, Recipe]:
        dtype = datatypes.dtype(self.dtype)
        if self.mode == "exact":
            recipe = EXACT[self.op](dtype, self.ranks, self.seed)
            if recipe is not None:
                return "exact", recipe
        if self.mode == "wrap":
            return "wrap", WRAP[self.op](dtype, self.ranks, self.seed)
        return "rounding", ROUNDING[self.op](dtype, self.ranks, self.seed)


def _checked(count: int) -> int:
    if count < 0:
        raise UsageError(f"count is {count}; allowed: 0 and more")
    return count


def _blocks(count: int) -> Iterator[tuple[slice, Words]]:
    for start in range(0, count, _BLOCK):
        stop = min(start + _BLOCK, count)
        yield slice(start, stop), np.arange(start, stop, dtype=np.uint64)
