"""Inputs whose all-reduce is known, and the check of what came back.

    known = KnownReduction("float32", "sum", ranks=4, mode="exact", seed=1)
    send = known.inputs(rank, count)
    poison(recv)
    ...                                  # the all-reduce under test
    result = check(recv, known.expected(count), count, rank)

Every value depends on (seed, rank, index), so data that is misplaced, stale, dropped or doubled
shows. `exact` inputs have a result that every order of combination gives without any rounding;
`rounding` inputs are ordinary numbers, compared within a proven error bound. No sum or product of
either leaves the range of its dtype in any order; those of `wrap`, of integers alone, do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from nvrar_bench import datatypes
from nvrar_bench.errors import UsageError
from nvrar_bench.plan import CheckMode
from nvrar_bench.verify import recipe
from nvrar_bench.verify.exact import EXACT
from nvrar_bench.verify.recipe import Formula, HostArray, Words
from nvrar_bench.verify.rounding import ROUNDING, WRAP

# Elements at once. Making them takes several temporaries of 64-bit words, 128 KiB each, which are
# to stay in the cache; comparing takes a mask of bytes.
_MADE, _COMPARED = 16384, 65536


@dataclass(frozen=True)
class Expected:
    """What every rank must hold after the all-reduce.

    Arrays lie in the memory of the device that made them; `KnownReduction.expected` makes NumPy's.
    """

    value: Any  # shape (count,); the reduction's dtype, or float64 references with a tolerance
    tolerance: Any  # shape (count,), float64, absolute; None where the result must be equal
    mode: CheckMode = "exact"  # of the inputs, as `KnownReduction.mode_used` has it


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
        return self._made[1]

    @property
    def is_tolerant(self) -> bool:
        """Whether `expected` has a tolerance."""
        return self.formula.is_tolerant

    def inputs(self, rank: int, count: int) -> HostArray:
        """Return what `rank` sends: shape (count,), the reduction's dtype.

        The first m elements do not depend on the count. UsageError for a rank or count outside the
        reduction.
        """
        if not 0 <= rank < self.ranks:
            raise UsageError(f"rank is {rank}; allowed: 0 to {self.ranks - 1}")
        dtype = datatypes.dtype(self.dtype)
        values = np.empty(_checked(count), dtype.numpy)
        for block, index in _blocks(count):
            values[block] = recipe.inputs(self.formula, dtype, rank, index)
        return values

    def expected(self, count: int) -> Expected:
        """Return the result over all ranks; takes ranks * count steps of work.

        The first m elements do not depend on the count.
        """
        dtype = datatypes.dtype(self.dtype)
        value = np.empty(_checked(count), np.float64 if self.is_tolerant else dtype.numpy)
        tolerance = np.empty(count, np.float64) if self.is_tolerant else None
        for block, index in _blocks(count):
            value[block], bound = recipe.expected(self.formula, dtype, index)
            if tolerance is not None:
                tolerance[block] = bound
        return Expected(value, tolerance, self.mode_used)

    @cached_property
    def _made(self) -> tuple[CheckMode, Formula]:
        dtype = datatypes.dtype(self.dtype)
        if self.mode == "exact":
            formula = EXACT[self.op](dtype, self.ranks, self.seed)
            if formula is not None:
                return "exact", formula
        if self.mode == "wrap":
            return "wrap", WRAP[self.op](dtype, self.ranks, self.seed)
        return "rounding", ROUNDING[self.op](dtype, self.ranks, self.seed)


def _checked(count: int) -> int:
    if count < 0:
        raise UsageError(f"count is {count}; allowed: 0 and more")
    return count


def _blocks(count: int) -> Iterator[tuple[slice, Words]]:
    for start in range(0, count, _MADE):
        stop = min(start + _MADE, count)
        yield slice(start, stop), np.arange(start, stop, dtype=np.uint64)


CANARY_BYTES = 64  # a cache line before an output and one behind it
# No two neighbours are equal and no byte is 0: neither zeroing nor shifting goes unseen.
_CANARY = (np.arange(CANARY_BYTES) * 37 + 0xA5).astype(np.uint8) | np.uint8(1)


@dataclass(frozen=True)
class CheckResult:
    """The outcome of one comparison on one rank."""

    status: Literal["passed", "failed"]
    mode: CheckMode  # how the inputs were made
    elements: int  # that were compared
    wrong: int  # of them
    # {"rank", "index", "expected", "seen"} of the first, or None; numbers are plain int and float,
    # NaN and infinities are strings, as JSON has neither.
    first_wrong: dict[str, int | float | str] | None


@dataclass(frozen=True)
class Findings:
    """What was found in an output, of each seat, and whether nothing was written around any."""

    results: list[CheckResult]
    intact: bool = True


def check(received: HostArray, expected: Expected, count: int, rank: int) -> CheckResult:
    """Compare the first `count` elements of `received` with what is expected.

    A NaN is always wrong. Equality is of values: -0 is 0. UsageError when `received` is not flat,
    is too short, or is of another dtype than the reduction.
    """
    _demand_comparable(received, expected, count)
    seen, value = received[:count], expected.value[:count]
    tolerance = None if expected.tolerance is None else expected.tolerance[:count]
    if tolerance is None and _same_bits(seen, value):
        return CheckResult("passed", expected.mode, count, 0, None)
    wrong = _wrong_places(seen, value, tolerance)
    if not wrong.size:
        return CheckResult("passed", expected.mode, count, 0, None)
    first = int(wrong[0])
    facts = {
        "rank": rank,
        "index": first,
        "expected": _plain(value[first]),
        "seen": _plain(seen[first]),
    }
    return CheckResult("failed", expected.mode, count, int(wrong.size), facts)


def poison(array: HostArray) -> None:
    """Fill with what no exact result is: NaN for floats, the largest value for integers."""
    integer = array.dtype.kind in "iu"
    array.fill(np.iinfo(array.dtype).max if integer else np.nan)


def write_canary(view: npt.NDArray[np.uint8]) -> None:
    """Fill the bytes behind an output, usually CANARY_BYTES of them, with a known pattern."""
    view[:] = np.resize(_CANARY, view.shape)


def canary_intact(view: npt.NDArray[np.uint8]) -> bool:
    """Say whether the bytes that `write_canary` wrote are still there."""
    return bool(np.array_equal(view, np.resize(_CANARY, view.shape)))


def _demand_comparable(received: HostArray, expected: Expected, count: int) -> None:
    if received.ndim != 1:
        raise UsageError(f"the received array has {received.ndim} dimensions; allowed: 1")
    available = min(received.size, expected.value.size)
    if not 0 <= count <= available:
        raise UsageError(f"count is {count}; allowed: 0 to {available}, what there is to compare")
    if expected.tolerance is None and received.dtype != expected.value.dtype:
        raise UsageError(f"received {received.dtype}; allowed: {expected.value.dtype}")


def _same_bits(seen: HostArray, value: HostArray) -> bool:
    bits = f"u{seen.dtype.itemsize}"
    return bool(np.array_equal(seen.view(bits), value.view(bits)))


def _wrong_places(
    seen: HostArray, value: HostArray, tolerance: HostArray | None
) -> npt.NDArray[np.intp]:
    """Indices of wrong elements, found block by block: the comparison's temporaries stay small."""
    found = [
        first
        + np.flatnonzero(
            _differs(seen[at], value[at], None if tolerance is None else tolerance[at])
        )
        for first in range(0, len(seen), _COMPARED)
        for at in (slice(first, first + _COMPARED),)
    ]
    return np.concatenate([np.empty(0, np.intp), *found])


def _differs(
    seen: HostArray, value: HostArray, tolerance: HostArray | None
) -> npt.NDArray[np.bool_]:
    if tolerance is None:
        return np.asarray(seen != value)
    with np.errstate(invalid="ignore"):  # a NaN, or infinity less infinity, is found, not warned of
        # Written so that a NaN, which compares false with everything, differs.
        return np.asarray(~(np.abs(seen.astype(np.float64) - value) <= tolerance))


def _plain(number: Any) -> int | float | str:
    if isinstance(number, np.integer):
        return int(number)
    plain = float(number)
    return plain if np.isfinite(plain) else str(plain)
