"""Poison, canaries and checks in GPU memory, by the rules of nvrar_bench/verify/check.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nvrar_bench.datatypes import DTYPES
from nvrar_bench.devices.cuda.array import DeviceArray
from nvrar_bench.devices.cuda.context import GpuContext
from nvrar_bench.devices.cuda.elements import ElementKernels
from nvrar_bench.devices.cuda.memory import GpuMemory
from nvrar_bench.errors import UsageError
from nvrar_bench.verify import CheckResult, Expected, check, poison, write_canary
from nvrar_bench.verify import canary_intact as bytes_intact

_PATTERN_BYTES = 8
_VERDICT = np.dtype([("wrong", np.uint64), ("first", np.uint64)])


@dataclass(frozen=True)
class VerificationKernels:
    """kernels/verification.cuh for all element types."""

    name: str = "verification"

    @property
    def source(self) -> str:
        """C++ that includes the header and names every type."""
        rows = (f"NVRAR_VERIFICATION({row.name}, {row.cxx})\n" for row in DTYPES.values())
        return '#include "verification.cuh"\n' + "".join(rows)


def pattern_of(dtype: np.dtype[Any]) -> int:
    """The 8 bytes, as a number, that fill memory with what verify.poison writes."""
    element = np.empty(1, dtype)
    poison(element)
    repeated = element.tobytes() * (_PATTERN_BYTES // dtype.itemsize)
    return int.from_bytes(repeated, "little")


def check_entry(dtype: np.dtype[Any], tolerant: bool) -> str:
    """The name of the kernel that compares elements of `dtype`."""
    name = next(row.name for row in DTYPES.values() if row.numpy == dtype)
    return f"nvrar_check_{'rounding' if tolerant else 'exact'}_{name}"


class Verifier:
    """The verification kernels of `cubin` on one GPU."""

    def __init__(self, context: GpuContext, memory: GpuMemory, cubin: bytes) -> None:
        self._memory = memory
        self._kernels = ElementKernels(context, cubin)
        self._canaries: dict[int, DeviceArray] = {}
        self._verdict = memory.keep(np.zeros(1, _VERDICT))
        self._blank = memory.keep(np.array([(0, np.iinfo(np.uint64).max)], _VERDICT))

    def poison(self, array: DeviceArray) -> None:
        """As verify.poison, in stream order."""
        pattern = pattern_of(array.dtype)
        for row in array.rows_with_data():
            self._kernels.launch("nvrar_fill", array.nbytes, array.row(row), after=(pattern,))

    def write_canary(self, view: DeviceArray) -> None:
        """As verify.write_canary, in stream order."""
        canary = self._canary(view.nbytes)
        for row in view.rows_with_data():
            self._memory.copy(_single_row(view, row), canary)

    def canary_intact(self, view: DeviceArray) -> bool:
        """As verify.canary_intact, when all before it has run."""
        host = self._memory.to_host(view).reshape(view.rows, view.nbytes)
        return all(bytes_intact(row) for row in host)

    def check(
        self, received: DeviceArray, expected: Expected, ranks: Sequence[int]
    ) -> list[CheckResult]:
        """As verify.check, for the row of each of `ranks`, when all before it has run.

        Raises:
            UsageError: what is expected is shorter than what came, or of another dtype.
        """
        _demand_comparable(received, expected)
        rows = [_single_row(received, row) for row in range(received.rows)]
        return [self._check_row(row, expected, rank) for row, rank in zip(rows, ranks, strict=True)]

    def _check_row(self, received: DeviceArray, expected: Expected, rank: int) -> CheckResult:
        count = received.count
        wrong, index = self._count_wrong(received, expected) if count else (0, 0)
        if not wrong:
            return CheckResult("passed", expected.mode, count, 0, None)
        first = self._first_wrong(received, expected, index, rank)
        return CheckResult("failed", expected.mode, count, wrong, first)

    def _count_wrong(self, received: DeviceArray, expected: Expected) -> tuple[int, int]:
        """How many are wrong, and the first one's index."""
        known = [one for one in (expected.value, expected.tolerance) if one is not None]
        self._memory.copy(self._verdict, self._blank)
        self._kernels.launch(
            check_entry(received.dtype, expected.tolerance is not None), received.count,
            received.address, *(_on_gpu(one).address for one in known),
            after=(self._verdict.address,),
        )  # fmt: skip
        verdict = self._memory.to_host(self._verdict)[0]
        return int(verdict["wrong"]), int(verdict["first"])

    def _first_wrong(
        self, received: DeviceArray, expected: Expected, index: int, rank: int
    ) -> dict[str, int | float | str] | None:
        """That one element goes through the host's check, which words the finding."""
        tolerance = expected.tolerance
        at_index = Expected(
            self._element(_on_gpu(expected.value), index),
            None if tolerance is None else self._element(_on_gpu(tolerance), index),
            expected.mode,
        )
        found = check(self._element(received, index), at_index, 1, rank).first_wrong
        return {**found, "index": index} if found else None

    def _element(self, array: DeviceArray, index: int) -> npt.NDArray[Any]:
        return self._memory.to_host(array[index : index + 1])

    def _canary(self, nbytes: int) -> DeviceArray:
        if nbytes not in self._canaries:
            host = np.empty(nbytes, np.uint8)
            write_canary(host)
            self._canaries[nbytes] = self._memory.keep(host)
        return self._canaries[nbytes]

    def close(self) -> None:
        """Let go of the memory."""
        self._canaries.clear()
        del self._verdict, self._blank


def _single_row(array: DeviceArray, row: int) -> DeviceArray:
    return DeviceArray(array.row(row), array.count, array.dtype, owner=array)


def _on_gpu(array: Any) -> DeviceArray:
    """What `expected` of the device returned, and not what a Problem makes on the host."""
    if not isinstance(array, DeviceArray):
        raise UsageError(f"what is expected is a {type(array).__name__}; it must lie in GPU memory")
    return array


def _demand_comparable(received: DeviceArray, expected: Expected) -> None:
    value = _on_gpu(expected.value)
    if received.count > value.count:
        raise UsageError(
            f"count is {received.count}; allowed: 0 to {value.count}, what there is to compare"
        )
    if expected.tolerance is None and received.dtype != value.dtype:
        raise UsageError(f"received {received.dtype}; allowed: {value.dtype}")
