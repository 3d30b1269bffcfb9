"""cuBLAS as works use it: one product, on a stream, in a way that a graph can capture."""

from __future__ import annotations

import ctypes
import importlib
from typing import Any

from nvrar_bench.errors import NvrarBenchError, Problem, Unavailable

# cudaDataType_t and cublasComputeType_t; 16-bit floats accumulate in 32 bits.
TYPES = {"float32": (0, 68), "float64": (1, 70), "float16": (2, 68), "bfloat16": (14, 68)}
WORKSPACE_BYTES = 32 << 20  # what cuBLAS takes on sm_90; its own would be allocated in a capture
_TRANSPOSED, _AS_IT_IS = 1, 0  # cublasOperation_t
_DEFAULT = -1  # cublasGemmAlgo_t


class CublasError(NvrarBenchError):
    """A function of cuBLAS failed."""


class Cublas:
    """A handle of cuBLAS, on one stream.

    Raises:
        Unavailable: nvmath-python or cuBLAS is not installed.
        CublasError: by any method whose function failed.
    """

    def __init__(self, stream: int, workspace: int, install: str, library: Any = None) -> None:
        """`workspace` is WORKSPACE_BYTES of GPU memory; `install` is the command that installs."""
        self._cublas = library or _bindings(install)
        try:
            self._handle = self._cublas.create()
        except Exception as error:  # where the library is missing, it says so in many ways
            raise Unavailable(Problem(f"cuBLAS cannot be used ({error})", install)) from error
        self._call("set_stream", stream)
        self._call("set_workspace", workspace, WORKSPACE_BYTES)
        self._one = {68: ctypes.c_float(1), 70: ctypes.c_double(1)}
        self._zero = {68: ctypes.c_float(0), 70: ctypes.c_double(0)}

    def multiply(
        self, dtype: str, shape: tuple[int, int, int], left: int, weights: int, out: int
    ) -> None:
        """Enqueue (m, k) at `left` by the transpose of (n, k) at `weights`; rows are contiguous."""
        (m, n, k), (kind, compute) = shape, TYPES[dtype]
        one, zero = (ctypes.addressof(each[compute]) for each in (self._one, self._zero))
        # cuBLAS counts by columns: what it sees is the transpose of everything.
        self._call(
            "gemm_ex", _TRANSPOSED, _AS_IT_IS, n, m, k, one, weights, kind, k, left, kind, k,
            zero, out, kind, n, compute, _DEFAULT,
        )  # fmt: skip

    def close(self) -> None:
        """Give the handle back."""
        self._call("destroy")

    def _call(self, name: str, *arguments: int) -> None:
        try:
            getattr(self._cublas, name)(self._handle, *arguments)
        except RuntimeError as error:
            raise CublasError(f"{name} of cuBLAS failed: {error}") from error


def _bindings(install: str) -> Any:
    try:
        return importlib.import_module("nvmath.bindings.cublas")
    except ImportError as error:
        what = f"nvmath-python, which calls cuBLAS, cannot be imported ({error})"
        raise Unavailable(Problem(what, install)) from error
