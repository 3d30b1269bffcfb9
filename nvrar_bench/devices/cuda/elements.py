"""Inputs, results and checks in GPU memory: kernels/problem.cuh and kernels/verification.cuh."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from nvrar_bench.datatypes import DTYPES
from nvrar_bench.devices.base import Verifier
from nvrar_bench.devices.cuda.context import LoadedKernel
from nvrar_bench.devices.cuda.memory import DeviceArray, GpuMemory
from nvrar_bench.errors import UsageError
from nvrar_bench.toolchain.host import Source
from nvrar_bench.toolchain.kernel import Elements
from nvrar_bench.toolchain.structs import CFormula
from nvrar_bench.verify import (
    CheckResult,
    Expected,
    Findings,
    KnownReduction,
    check,
    poison,
)
from nvrar_bench.verify.recipe import Formula

_DOUBLE = np.dtype(np.float64)
_FORMULAS_KEPT = 2  # inputs and results of a reduction, one after the other
_PATTERN_BYTES = 8
_VERDICT = np.dtype([(field, np.uint64) for field in ("wrong", "nearest", "damaged")])
_THREADS = 256
_BLOCKS_PER_SM = 8  # enough to fill it: 2,048 threads


def grid_for(items: int, sms: int) -> int:
    """Blocks for `items` elements: enough to fill the GPU, at least one."""
    return max(1, min(-(-items // _THREADS), sms * _BLOCKS_PER_SM))


def c_formula(formula: Formula, choice: int) -> CFormula:
    """`formula` as kernels read it; its choices lie at address `choice`."""
    return CFormula(**{**vars(formula), "choices": len(formula.choices)}, choice=choice)


def pattern_of(dtype: np.dtype[Any]) -> int:
    """The 8 bytes, as a number, that fill memory with what verify.poison writes."""
    element = np.empty(1, dtype)
    poison(element)
    repeated = element.tobytes() * (_PATTERN_BYTES // dtype.itemsize)
    return int.from_bytes(repeated, "little")


def check_entry(dtype: np.dtype[Any], tolerant: bool) -> str:
    """The name of the kernel that compares elements of `dtype`."""
    return f"nvrar_check_{'rounding' if tolerant else 'exact'}_{_name_of(dtype)}"


class GpuVerifier(Verifier):
    """Makes, spoils and checks arrays on one GPU, in stream order; a row for each of `ranks`.

    The kernels of a type are built by `build` and loaded when the first of them is needed. Inputs
    and results are those that `KnownReduction` makes on the host; a float64 reference and its
    tolerance may differ in the last bit.
    """

    def __init__(
        self, memory: GpuMemory, build: Callable[[Source], bytes], ranks: Sequence[int]
    ) -> None:
        self._memory, self._context = memory, memory.context
        self._build, self._ranks = build, ranks
        self._cubins: dict[str, bytes] = {}
        self._loaded: dict[tuple[str, str], LoadedKernel] = {}
        self._formula = lru_cache(_FORMULAS_KEPT)(self._make_formula)
        self._verdicts = memory.keep(np.zeros(len(ranks), _VERDICT))

    def inputs(self, known: KnownReduction, count: int) -> DeviceArray:
        """Make what each seat sends; the seats' ranks follow each other."""
        made = self._memory.empty(count, DTYPES[known.dtype].numpy, len(self._ranks))
        if count:
            formula = self._formula(known.formula).address
            after = (made.pitch, made.rows, formula, self._ranks[0])
            entry = f"nvrar_inputs_{known.dtype}"
            self._launch(known.dtype, entry, count, made.address, after=after)
        return made

    def expected(self, known: KnownReduction, count: int) -> Expected:
        kind = _DOUBLE if known.is_tolerant else np.dtype(DTYPES[known.dtype].numpy)
        value = self._memory.empty(count, kind)
        tolerance = self._memory.empty(count, kind) if known.is_tolerant else None
        entry = f"nvrar_{'reference' if tolerance else 'expected'}_{known.dtype}"
        made = [value.address] + ([tolerance.address] if tolerance else [])
        if count:
            formula = self._formula(known.formula).address
            self._launch(known.dtype, entry, count, *made, after=(formula,))
        return Expected(value, tolerance, known.mode_used)

    def spoil(
        self, output: DeviceArray, around: Sequence[DeviceArray] = (), *, poison: bool = True
    ) -> None:
        nbytes, dtype = output.nbytes if poison else 0, _name_of(output.dtype)
        after = (output.pitch, output.rows, pattern_of(output.dtype), *_bytes_around(around))
        self._launch(dtype, "nvrar_spoil", nbytes, output.address, after=after)

    def check(
        self, received: DeviceArray, expected: Expected, around: Sequence[DeviceArray] = ()
    ) -> Findings:
        """As verify.check and verify.canary_intact, in every row, when all before has run.

        UsageError: what is expected is shorter than what came, or of another dtype.
        """
        _demand_comparable(received, expected)
        verdicts = self._judge(received, expected, around)
        results = []
        for row, (rank, verdict) in enumerate(zip(self._ranks, verdicts, strict=True)):
            one = DeviceArray(received.row(row), received.count, received.dtype, owner=received)
            results.append(self._result(one, expected, rank, verdict))
        return Findings(results, not verdicts["damaged"].any())

    def _judge(
        self, received: DeviceArray, expected: Expected, around: Sequence[DeviceArray]
    ) -> npt.NDArray[Any]:
        """All rows in one launch."""
        known = [one for one in (expected.value, expected.tolerance) if one is not None]
        verdicts = self._verdicts[: received.rows]
        self._memory.zero(verdicts.address, verdicts.nbytes)
        dtype = _name_of(received.dtype)
        entry = check_entry(received.dtype, expected.tolerance is not None)
        wanted = [_on_gpu(one).address for one in known]
        after = (received.pitch, received.rows, *wanted, verdicts.address, *_bytes_around(around))
        self._launch(dtype, entry, received.count, received.address, after=after)
        return self._memory.to_host(verdicts)

    def _result(
        self, received: DeviceArray, expected: Expected, rank: int, verdict: npt.NDArray[Any]
    ) -> CheckResult:
        count, wrong = received.count, int(verdict["wrong"])
        if not wrong:
            return CheckResult("passed", expected.mode, count, 0, None)
        index = int(~verdict["nearest"])
        first = self._first_wrong(received, expected, index, rank)
        return CheckResult("failed", expected.mode, count, wrong, first)

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

    def _launch(
        self, dtype: str, entry: str, items: int, *before: int, after: tuple[int, ...]
    ) -> None:
        """Run `entry` of the module of `dtype` over `items` elements, in stream order.

        Its arguments are those of `before`, the number of items, that of blocks, and `after`.
        """
        kernel = self._loaded.get((dtype, entry)) or self._load(dtype, entry)
        blocks = grid_for(items, self._context.gpu.sms)
        self._context.launch(kernel, blocks, _THREADS, *before, items, blocks, *after)

    def _load(self, dtype: str, entry: str) -> LoadedKernel:
        if dtype not in self._cubins:
            self._cubins[dtype] = self._build(Elements(dtype))
        kernel = self._loaded[dtype, entry] = self._context.load(self._cubins[dtype], entry)
        return kernel

    def _make_formula(self, formula: Formula) -> DeviceArray:
        """A CFormula in GPU memory, with its choices behind it."""
        choices = np.array(formula.choices, np.uint64).tobytes()
        kept = self._memory.empty(ctypes.sizeof(CFormula) + len(choices), np.uint8)
        there = bytes(c_formula(formula, kept.address + ctypes.sizeof(CFormula)))
        self._memory.write(kept, np.frombuffer(there + choices, np.uint8))
        return kept

    def close(self) -> None:
        """Let go of the memory."""
        self._formula.cache_clear()
        del self._verdicts


def _name_of(dtype: np.dtype[Any]) -> str:
    return next(row.name for row in DTYPES.values() if row.numpy == dtype)


def _bytes_around(around: Sequence[DeviceArray]) -> tuple[int, int, int]:
    """The views before and behind an output, for kernels: addresses and length."""
    if not around:
        return 0, 0, 0
    front, behind = around
    return front.address, behind.address, front.nbytes


def _on_gpu(array: Any) -> DeviceArray:
    """What `expected` of the device returned, and not what a KnownReduction makes on the host."""
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
