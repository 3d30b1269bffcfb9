"""Inputs whose result is known, and that result, made in GPU memory: kernels/problem.cuh."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from nvrar_bench.datatypes import DTYPES
from nvrar_bench.devices.abi import POINTER, U64
from nvrar_bench.devices.cuda.array import DeviceArray
from nvrar_bench.devices.cuda.context import GpuContext
from nvrar_bench.devices.cuda.elements import ElementKernels
from nvrar_bench.devices.cuda.memory import GpuMemory
from nvrar_bench.toolchain.host import Source
from nvrar_bench.verify import Expected, Formula, Problem

_DOUBLE = np.dtype(np.float64)


@dataclass(frozen=True)
class ProblemKernels:
    """kernels/problem.cuh for one element type."""

    dtype: str

    @property
    def name(self) -> str:
        """What it is called in the cache."""
        return f"problem-{self.dtype}"

    @property
    def source(self) -> str:
        """C++ that includes the header and names the type."""
        row = DTYPES[self.dtype]
        return f'#include "problem.cuh"\nNVRAR_PROBLEM({row.name}, {row.cxx})\n'


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
    differ in the last bit. The kernels of a type are built for its first problem, by `build`.
    """

    def __init__(
        self, context: GpuContext, memory: GpuMemory, build: Callable[[Source], bytes]
    ) -> None:
        self._context, self._memory, self._build = context, memory, build
        self._of_types: dict[str, ElementKernels] = {}

    def inputs(self, problem: Problem, ranks: Sequence[int], count: int) -> DeviceArray:
        """What each of `ranks` sends; shape (count,), or (rows, count)."""
        made = self._memory.empty(count, DTYPES[problem.dtype].numpy, len(ranks))
        formula = self._formula(problem.formula)
        for row in made.rows_with_data():
            self._kernels(problem.dtype).launch(
                f"nvrar_inputs_{problem.dtype}", count, made.row(row),
                after=(formula.address, ranks[row]),
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
            formula = self._formula(problem.formula)
            self._kernels(problem.dtype).launch(
                f"nvrar_{entry}_{problem.dtype}", count, *made, after=(formula.address,)
            )
        return Expected(value, tolerance, problem.mode_used)

    def _kernels(self, dtype: str) -> ElementKernels:
        if dtype not in self._of_types:
            cubin = self._build(ProblemKernels(dtype))
            self._of_types[dtype] = ElementKernels(self._context, cubin)
        return self._of_types[dtype]

    def _formula(self, formula: Formula) -> DeviceArray:
        """A CFormula in GPU memory, which keeps its choices there too."""
        choices = self._memory.keep(np.array(formula.choices, np.uint64))
        there = bytes(CFormula.of(formula, choices.address))
        kept = self._memory.keep(np.frombuffer(there, np.uint8))
        return replace(kept, owner=(kept.owner, choices))
