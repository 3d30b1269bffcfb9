"""The data types and reductions the suite knows: one row each.

A row says what every layer needs: NumPy's type, the C++ type of the kernels, MPI's datatype (where
MPI has one), and the numbers the verifier's bounds are made of. Adding a dtype or an op is adding a
row here and a specialisation in kernels/.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import ml_dtypes
import numpy as np

from nvrar_bench.errors import UsageError


@dataclass(frozen=True)
class DataType:
    """One element type."""

    name: str  # after --dtype, and in the run record
    numpy: np.dtype[Any]  # 8-bit and bfloat16 floats come from ml_dtypes
    cxx: str  # its name in the kernels
    mpi: str | None  # attribute of mpi4py.MPI, or None where MPI has no such datatype
    is_float: bool
    # The largest L such that every integer in [-L, L] ([0, L] when unsigned) is exactly
    # representable; 2**p for a float with p significant bits.
    exact_limit: int
    max_value: float  # the largest finite one; of 64-bit integers rounded to a Python float
    epsilon: float  # unit roundoff u = 2**-p (half the spacing at 1) of floats, 0 of integers
    smallest_subnormal: float  # the smallest positive value of floats, 0 of integers

    @property
    def itemsize(self) -> int:
        """Bytes per element."""
        return int(self.numpy.itemsize)

    @property
    def is_signed(self) -> bool:
        """True where negative values exist."""
        return self.is_float or self.numpy.kind == "i"


@dataclass(frozen=True)
class Op:
    """One reduction: its name, its C++ functor, and MPI's operation (None where MPI has none)."""

    name: str
    cxx: str
    mpi: str | None


# ml_dtypes.finfo also knows NumPy's own floats; its constructor carries no annotations.
_finfo: Any = ml_dtypes.finfo


def _float(name: str, scalar: Any, cxx: str, mpi: str | None) -> DataType:
    info = _finfo(scalar)
    precision = int(info.nmant) + 1
    return DataType(
        name=name,
        numpy=np.dtype(scalar),
        cxx=cxx,
        mpi=mpi,
        is_float=True,
        exact_limit=2**precision,
        max_value=float(info.max),
        epsilon=2.0**-precision,
        smallest_subnormal=float(info.smallest_subnormal),
    )


def _integer(name: str) -> DataType:
    numpy = np.dtype(name)
    largest = int(np.iinfo(numpy).max)
    return DataType(
        name=name,
        numpy=numpy,
        cxx=f"cuda::std::{name}_t",
        mpi=f"{name.upper()}_T",
        is_float=False,
        exact_limit=largest,
        max_value=float(largest),
        epsilon=0.0,
        smallest_subnormal=0.0,
    )


_Row = TypeVar("_Row", DataType, Op)


def _table(*rows: _Row) -> dict[str, _Row]:
    return {row.name: row for row in rows}


DTYPES: dict[str, DataType] = _table(
    _float("float64", np.float64, "double", "DOUBLE"),
    _float("float32", np.float32, "float", "FLOAT"),
    _float("float16", np.float16, "__half", None),
    _float("bfloat16", ml_dtypes.bfloat16, "__nv_bfloat16", None),
    _float("float8_e4m3", ml_dtypes.float8_e4m3fn, "__nv_fp8_e4m3", None),
    _float("float8_e5m2", ml_dtypes.float8_e5m2, "__nv_fp8_e5m2", None),
    _integer("int8"),
    _integer("uint8"),
    _integer("int32"),
    _integer("uint32"),
    _integer("int64"),
    _integer("uint64"),
)

OPS: dict[str, Op] = _table(
    Op("sum", "Sum", "SUM"),
    Op("prod", "Prod", "PROD"),
    Op("min", "Min", "MIN"),
    Op("max", "Max", "MAX"),
    Op("avg", "Avg", None),
)


# The mean of a sum that overflowed means nothing, and an extremum is one of its operands.
_WRAPPING = ("sum", "prod")


def dtype(name: str) -> DataType:
    """Return the row called `name` (UsageError)."""
    return _look_up("dtype", DTYPES, name)


def op(name: str) -> Op:
    """Return the row called `name` (UsageError)."""
    return _look_up("op", OPS, name)


def can_wrap(dtype_name: str, op_name: str) -> bool:
    """Say whether results may leave the range of the dtype and come back modulo 2**bits."""
    return not dtype(dtype_name).is_float and op(op_name).name in _WRAPPING


def _look_up(kind: str, table: Mapping[str, _Row], name: str) -> _Row:
    if name not in table:
        raise UsageError(f"unknown {kind} {name!r}; allowed: {', '.join(table)}")
    return table[name]
