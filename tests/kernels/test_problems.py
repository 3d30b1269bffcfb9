"""What GPUs make of a problem is what verify/ makes on the host; compiled for the CPU."""

from __future__ import annotations

import ctypes
from dataclasses import fields

import numpy as np
import pytest

from nvrar_bench.datatypes import DTYPES, OPS, can_wrap
from nvrar_bench.devices.cuda.elements import c_formula
from nvrar_bench.toolchain import host
from nvrar_bench.toolchain.kernel import Elements
from nvrar_bench.toolchain.structs import CFormula
from nvrar_bench.verify import KnownReduction
from nvrar_bench.verify.recipe import Formula

RANKS = [1, 2, 3, 4, 5, 6, 7, 8, 13, 14, 16, 48, 130, 300]
COUNT = 700
LAST_BIT = 2.0**-52


@pytest.fixture(scope="module")
def libraries(kernel_cache):
    kernels = [Elements(name) for name in DTYPES]
    return dict(zip(DTYPES, map(host.load, host.build_all(kernels)), strict=True))


@pytest.fixture(scope="module")
def made(libraries):
    """`made(problem, name, *arrays)` lets kernel `name` fill the arrays; `rank` goes last."""

    def run(problem: KnownReduction, name: str, *arrays: np.ndarray, rank: int | None = None):
        choices = np.array(problem.formula.choices, np.uint64)
        formula = c_formula(problem.formula, choices.ctypes.data)
        words = [array.ctypes.data for array in arrays]
        words += [len(arrays[0]), 1]
        words += [] if rank is None else [arrays[0].nbytes, 1]  # one row
        words += [ctypes.addressof(formula)] + ([] if rank is None else [rank])
        function = libraries[problem.dtype][f"nvrar_{name}_{problem.dtype}"]
        function.restype = None
        function(*map(ctypes.c_uint64, words))
        return arrays

    return run


def bits(array: np.ndarray) -> np.ndarray:
    return array.view(f"u{array.dtype.itemsize}")


@pytest.mark.parametrize("mode", ["exact", "rounding", "wrap"])
@pytest.mark.parametrize("op", list(OPS))
@pytest.mark.parametrize("dtype", list(DTYPES))
def test_every_element_is_that_of_the_host(made, dtype, op, mode):
    if mode == "wrap" and not can_wrap(dtype, op):
        return
    for ranks in RANKS:
        problem = KnownReduction(dtype, op, ranks, mode, seed=41 + ranks)
        for rank in {0, ranks // 2, ranks - 1}:
            (inputs,) = made(problem, "inputs", np.empty(COUNT, DTYPES[dtype].numpy), rank=rank)
            assert np.array_equal(bits(inputs), bits(problem.inputs(rank, COUNT))), (ranks, rank)
        expected = problem.expected(COUNT)
        assert problem.is_tolerant == (expected.tolerance is not None)
        if expected.tolerance is None:
            (value,) = made(problem, "expected", np.empty(COUNT, DTYPES[dtype].numpy))
            assert np.array_equal(bits(value), bits(expected.value)), ranks
        else:
            value, tolerance = made(problem, "reference", np.empty(COUNT), np.empty(COUNT))
            assert np.allclose(value, expected.value, rtol=LAST_BIT, atol=0), ranks
            assert np.allclose(tolerance, expected.tolerance, rtol=2 * LAST_BIT, atol=0), ranks


@pytest.mark.parametrize("seed", [0, 1, 2**32, 2**63 + 7, 2**64 + 5])
def test_any_seed_gives_the_same(made, seed):
    problem = KnownReduction("float32", "sum", 4, "exact", seed)
    (inputs,) = made(problem, "inputs", np.empty(COUNT, np.float32), rank=3)
    assert np.array_equal(inputs, problem.inputs(3, COUNT))


def test_the_struct_has_the_fields_of_the_formula_in_their_order():
    names = [name for name, *_ in CFormula._fields_]
    assert names == [field.name for field in fields(Formula)] + ["choice"]
    assert ctypes.sizeof(CFormula) == 8 * len(names)


def test_every_field_of_a_formula_arrives():
    values = {
        field.name: 0.5 + n if field.type == "float" else 3 + n
        for n, field in enumerate(fields(Formula))
        if field.name != "choices"
    }
    there = c_formula(Formula(**values, choices=(7, 8, 9)), 4096)
    assert {name: getattr(there, name) for name in values} == values
    assert (there.choices, there.choice) == (3, 4096)
