"""Inputs whose result is known, and that result, made in GPU memory: kernels/problem.cuh."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import fields
from functools import lru_cache

import numpy as np

from nvrar_bench.datatypes import DTYPES
from nvrar_bench.devices.abi import POINTER, U64
from nvrar_bench.devices.cuda.array import DeviceArray
from nvrar_bench.devices.cuda.elements import ElementKernels
from nvrar_bench.devices.cuda.memory import GpuMemory
from nvrar_bench.verify import Expected, Formula, Problem

_DOUBLE = np.dtype(np.float64)
_FORMULAS_KEPT = 2  # inputs and results of a problem, one after the other


class CFormula(ctypes.Structure):
    """struct Formula of kernels/problem.cuh."""

    _fields_ = [
        *(
            (field.name, ctypes.c_double if field.type == "float" else U64)
            for field in fields(Formula)
        ),
        ("choice", POINTER),
    ]

    @classmethod
    def of(cls, formula: Formula, choice: int) -> CFormula:
        """Copy `formula`; its choices lie at address `choice`."""
        names = [field.name for field in fields(Formula) if field.name != "choices"]
        values = {name: getattr(formula, name) for name in names}
        return cls(**values, choices=len(formula.choices), choice=choice)


class ProblemMaker:
    """Makes the elements of problems on one GPU, in stream order.

    They are those that `Problem` makes on the host; a float64 reference and its tolerance may
    differ in the last bit.
    """

    def __init__(self, memory: GpuMemory, kernels: ElementKernels) -> None:
        self._memory, self._kernels = memory, kernels
        self._formula = lru_cache(_FORMULAS_KEPT)(self._make_formula)

    def inputs(self, problem: Problem, ranks: Sequence[int], count: int) -> DeviceArray:
        """What each of `ranks` sends, which follow each other; shape (count,), or (rows, count)."""
        made = self._memory.empty(count, DTYPES[problem.dtype].numpy, len(ranks))
        if count:
            self._kernels.launch(
                problem.dtype, f"nvrar_inputs_{problem.dtype}", count, made.address,
                after=(made.pitch, made.rows, self._formula(problem.formula).address, ranks[0]),
            )  # fmt: skip
        return made

    def expected(self, problem: Problem, count: int) -> Expected:
        """What every rank must hold; its arrays lie in GPU memory."""
        kind = _DOUBLE if problem.is_tolerant else np.dtype(DTYPES[problem.dtype].numpy)
        value = self._memory.empty(count, kind)
        tolerance = self._memory.empty(count, kind) if problem.is_tolerant else None
        entry = "reference" if tolerance else "expected"
        made = [value.address] + ([tolerance.address] if tolerance else [])
        if count:
            self._kernels.launch(
                problem.dtype, f"nvrar_{entry}_{problem.dtype}", count, *made,
                after=(self._formula(problem.formula).address,),
            )  # fmt: skip
        return Expected(value, tolerance, problem.mode_used)

    def close(self) -> None:
        """Let go of the memory."""
        self._formula.cache_clear()

    def _make_formula(self, formula: Formula) -> DeviceArray:
        """A CFormula in GPU memory, with its choices behind it."""
        choices = np.array(formula.choices, np.uint64).tobytes()
        kept = self._memory.empty(ctypes.sizeof(CFormula) + len(choices), np.uint8)
        there = bytes(CFormula.of(formula, kept.address + ctypes.sizeof(CFormula)))
        self._memory.write(kept, np.frombuffer(there + choices, np.uint8))
        return kept
