"""The rows of the dtype and op tables against the types themselves."""

import numpy as np
import pytest

from nvrar_bench import datatypes
from nvrar_bench.datatypes import DTYPES, OPS
from nvrar_bench.errors import UsageError

FLOATS = [row for row in DTYPES.values() if row.is_float]
INTEGERS = [row for row in DTYPES.values() if not row.is_float]


def held(row, value):
    """What is left of a Python number after a stay in the dtype."""
    return float(np.array([value], np.float64).astype(row.numpy).astype(np.float64)[0])


def test_the_design_lists_these_dtypes_in_this_order():
    floats = ["float64", "float32", "float16", "bfloat16", "float8_e4m3", "float8_e5m2"]
    integers = ["int8", "uint8", "int32", "uint32", "int64", "uint64"]
    assert list(DTYPES) == floats + integers


def test_the_design_lists_these_ops_in_this_order():
    assert [(op.name, op.cxx, op.mpi) for op in OPS.values()] == [
        ("sum", "Sum", "SUM"),
        ("prod", "Prod", "PROD"),
        ("min", "Min", "MIN"),
        ("max", "Max", "MAX"),
        ("avg", "Avg", None),
    ]


@pytest.mark.parametrize(
    ("name", "cxx", "itemsize"),
    [
        ("float64", "double", 8),
        ("float32", "float", 4),
        ("float16", "__half", 2),
        ("bfloat16", "__nv_bfloat16", 2),
        ("float8_e4m3", "__nv_fp8_e4m3", 1),
        ("float8_e5m2", "__nv_fp8_e5m2", 1),
        ("int8", "cuda::std::int8_t", 1),
        ("uint8", "cuda::std::uint8_t", 1),
        ("int32", "cuda::std::int32_t", 4),
        ("uint32", "cuda::std::uint32_t", 4),
        ("int64", "cuda::std::int64_t", 8),
        ("uint64", "cuda::std::uint64_t", 8),
    ],
)
def test_cxx_name_and_size(name, cxx, itemsize):
    row = datatypes.dtype(name)
    assert (row.cxx, row.itemsize) == (cxx, itemsize)


@pytest.mark.parametrize("row", FLOATS, ids=lambda row: row.name)
def test_exact_limit_is_the_last_integer_before_a_gap(row):
    near = range(max(0, row.exact_limit - 1000), row.exact_limit + 1)
    assert all(int(held(row, value)) == value for value in near)
    assert int(held(row, row.exact_limit + 1)) != row.exact_limit + 1
    assert row.exact_limit * row.epsilon == 1


@pytest.mark.parametrize("row", FLOATS, ids=lambda row: row.name)
def test_epsilon_is_half_the_spacing_at_one(row):
    assert held(row, 1 + 2 * row.epsilon) == 1 + 2 * row.epsilon
    assert held(row, 1 + row.epsilon) == 1


@pytest.mark.parametrize("row", FLOATS, ids=lambda row: row.name)
def test_range_of_floats(row):
    assert held(row, row.max_value) == row.max_value
    assert held(row, row.smallest_subnormal) == row.smallest_subnormal
    assert held(row, row.smallest_subnormal / 2) == 0
    spacing = row.max_value * 2 * row.epsilon
    with np.errstate(over="ignore"):
        assert not np.isfinite(held(row, row.max_value + spacing))


@pytest.mark.parametrize("row", INTEGERS, ids=lambda row: row.name)
def test_range_of_integers(row):
    largest = np.iinfo(row.numpy).max
    assert row.exact_limit == largest
    assert row.max_value == float(largest)
    assert (row.epsilon, row.smallest_subnormal) == (0, 0)
    assert row.is_signed == (np.iinfo(row.numpy).min < 0)


@pytest.mark.parametrize(
    ("look_up", "table"), [(datatypes.dtype, DTYPES), (datatypes.op, OPS)], ids=["dtype", "op"]
)
def test_an_unknown_name_is_answered_with_the_known_ones(look_up, table):
    assert [look_up(name) for name in table] == list(table.values())
    with pytest.raises(UsageError, match="'half'") as failure:
        look_up("half")
    assert all(name in str(failure.value) for name in table)
