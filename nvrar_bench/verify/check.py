"""The check of what came back, and that nothing was written behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from nvrar_bench.errors import UsageError
from nvrar_bench.plan import CheckMode
from nvrar_bench.verify.hashing import HostArray
from nvrar_bench.verify.known import Expected

CANARY_BYTES = 64
_BLOCK = 65536
# No two neighbours are equal and no byte is 0: neither zeroing nor shifting goes unseen.
_CANARY = (np.arange(CANARY_BYTES) * 37 + 0xA5).astype(np.uint8) | np.uint8(1)


@dataclass(frozen=True)
class CheckResult:
    """The outcome of one comparison on one rank.

    Attributes:
        status: "passed" when no element is wrong.
        mode: how the inputs were made: "exact", "rounding" or "wrap".
        elements: how many were compared.
        wrong: how many of them are wrong.
        first_wrong: {"rank", "index", "expected", "seen"} of the first, or None; numbers are plain
            int and float, NaN and infinities are strings, as JSON has neither.

    """

    status: Literal["passed", "failed"]
    mode: CheckMode
    elements: int
    wrong: int
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
        for first in range(0, len(seen), _BLOCK)
        for at in (slice(first, first + _BLOCK),)
    ]
    return np.concatenate([np.empty(0, np.intp), *found])


def _differs(
    seen: HostArray, value: HostArray, tolerance: HostArray | None
) -> npt.NDArray[np.bool_]:
    if tolerance is None:
        return np.asarray(seen != value)
    # Written so that a NaN, which compares false with everything, differs.
    return np.asarray(~(np.abs(seen.astype(np.float64) - value) <= tolerance))


def _plain(number: Any) -> int | float | str:
    if isinstance(number, np.integer):
        return int(number)
    plain = float(number)
    return plain if np.isfinite(plain) else str(plain)
