"""An array as a call sees it, whichever library made it: address, shape, dtype.

DLPack is spoken here where NumPy's own does not reach: bfloat16 and 8-bit floats, and GPU memory.
No capsule is made or freed: one that comes in is read and left to its maker; one that goes out is
NumPy's, of unsigned integers on the same bytes, with the right type and device written into it.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nvrar_bench.datatypes import DTYPES
from nvrar_bench.errors import UsageError

Place = tuple[int, int]  # DLDeviceType and number

CPU, CUDA, CUDA_HOST, CUDA_MANAGED = 1, 2, 3, 13
HOST: Place = (CPU, 0)

_INT, _UINT, _FLOAT = 0, 1, 2
# DLDataTypeCode of what NumPy does not export.
BEYOND_NUMPY = {"bfloat16": 4, "float8_e4m3": 10, "float8_e5m2": 12}
_READ_ONLY = 1  # DLPACK_FLAG_BITMASK_READ_ONLY


class _Tensor(ctypes.Structure):
    """DLTensor."""

    _fields_ = (
        ("data", ctypes.c_uint64),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _Versioned(ctypes.Structure):
    """DLManagedTensorVersioned; the one without a version begins with its DLTensor."""

    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    )


class Described(NamedTuple):
    """An array as its maker describes it."""

    address: int
    device: Place
    dtype: str  # the suite's name, or words for one that the suite lacks
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None  # in elements; None in C order
    read_only: bool


def _code_of(name: str) -> tuple[int, int]:
    row = DTYPES[name]
    plain = _FLOAT if row.is_float else _INT if row.is_signed else _UINT
    return BEYOND_NUMPY.get(name, plain), 8 * row.itemsize


_TYPES = {name: _code_of(name) for name in DTYPES}
_BY_CODE = {code: name for name, code in _TYPES.items()}

_pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype, _pointer_of.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
_is_valid = ctypes.pythonapi.PyCapsule_IsValid
_is_valid.restype, _is_valid.argtypes = ctypes.c_int, (ctypes.py_object, ctypes.c_char_p)


def device_of(array: Any) -> Place:
    """Where `array` lies. Pinned host memory is host memory, and managed memory is the GPU's."""
    kind, number = map(int, array.__dlpack_device__())
    if kind in (CPU, CUDA_HOST):
        return HOST
    return (CUDA if kind == CUDA_MANAGED else kind), number


def describe(array: Any, device: Place | None = None) -> Described:
    """Describe `array`, which has `__dlpack__`. Work that is queued on it is not waited for.

    `device` is `device_of(array)`, for who has asked already. BufferError: it is not exported.
    """
    device = device or device_of(array)
    # -1: no stream waits for another one. What is queued is the caller's affair, and a stream that
    # is captured must not wait.
    stream = {"stream": -1} if device[0] == CUDA else {}
    try:
        capsule = array.__dlpack__(**stream, max_version=(1, 0))
    except TypeError:  # a maker from before versions
        capsule = array.__dlpack__(**stream)
    tensor, flags = _opened(capsule)
    ndim, kind = tensor.ndim, (tensor.code, tensor.bits)
    known = _BY_CODE.get(kind) if tensor.lanes == 1 else None
    return Described(
        address=tensor.data + tensor.byte_offset,
        device=device,
        dtype=known or f"DLPack's type {tensor.code} of {tensor.bits} bits x {tensor.lanes}",
        shape=tuple(tensor.shape[:ndim]),
        strides=tuple(tensor.strides[:ndim]) if tensor.strides else None,
        read_only=bool(flags & _READ_ONLY),
    )


def export(array: npt.NDArray[Any], dtype: str, device: Place) -> Any:
    """Return a capsule of `array`, unsigned integers, whose bytes are elements of `dtype`."""
    capsule = array.__dlpack__()
    tensor, _ = _opened(capsule)
    tensor.code, tensor.bits = _TYPES[dtype]
    tensor.device_type, tensor.device_id = device
    return capsule


def require_in_place(device: Place, dl_device: Sequence[int] | None, copy: bool | None) -> None:
    """Refuse to copy, or to export to another device (BufferError)."""
    if copy or (dl_device is not None and tuple(dl_device) != device):
        raise BufferError("symmetric memory is exported where it lies, without a copy")


def in_words(device: Place) -> str:
    """Where an array lies."""
    kind, number = device
    return {CPU: "host memory", CUDA: f"GPU {number}"}.get(kind, f"DLPack's device {kind}")


def _opened(capsule: Any) -> tuple[_Tensor, int]:
    """Return what a capsule holds, which it keeps alive, and its flags."""
    if _is_valid(capsule, b"dltensor_versioned"):
        found = _Versioned.from_address(_pointer_of(capsule, b"dltensor_versioned"))
        return found.tensor, found.flags
    return _Tensor.from_address(_pointer_of(capsule, b"dltensor")), 0


_NAMES = {row.numpy: name for name, row in DTYPES.items()}
_SPEAKERS = (
    "what speaks DLPack or the CUDA array interface, such as arrays of NumPy, PyTorch, CuPy and JAX"
)


class Operand(NamedTuple):
    """A contiguous array (C order), of one of the suite's dtypes, in memory of the right device."""

    address: int
    shape: tuple[int, ...]
    dtype: str
    read_only: bool = False

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.elements * DTYPES[self.dtype].itemsize


def read(name: str, array: Any, home: Place) -> Operand:
    """Look at `array`, which a call got as `name` on the device `home`; nothing is copied.

    UsageError: it is no array, lies elsewhere, has gaps, or a dtype that the suite lacks.
    """
    if isinstance(array, np.ndarray):
        return _of_numpy(name, array, home)
    try:
        if hasattr(array, "__dlpack__"):
            device = device_of(array)
            require_home(name, device, home)
            found = _checked(name, describe(array, device))
            return found._replace(read_only=found.read_only or _is_immutable(array))
        if hasattr(array, "__cuda_array_interface__"):
            require_home(name, (CUDA, home[1]), home)
            return _checked(name, _of_cuda(array.__cuda_array_interface__, home))
    except (BufferError, RuntimeError) as error:  # as of a PyTorch tensor that needs its gradient
        raise UsageError(f"{name} cannot be read: {error}") from error
    raise UsageError(f"{name} is a {type(array).__name__}; allowed: {_SPEAKERS}")


def require_home(name: str, device: Place, home: Place) -> None:
    """Refuse an array that lies on another device than `home` (UsageError)."""
    if device != home:
        raise UsageError(
            f"{name} lies in {in_words(device)}; allowed with this open: {in_words(home)}"
        )


def _of_numpy(name: str, array: np.ndarray[Any, Any], home: Place) -> Operand:
    require_home(name, HOST, home)
    dtype = _NAMES.get(array.dtype)
    if dtype is None or not array.flags.c_contiguous:
        raise _no_operand(name, str(array.dtype), array.shape)
    address, read_only = array.__array_interface__["data"]
    return Operand(address, array.shape, dtype, read_only)


def _is_immutable(array: Any) -> bool:
    """Whether it is JAX's: they must not be written, and not all versions say so in DLPack."""
    return type(array).__module__.partition(".")[0] in ("jax", "jaxlib")


def _of_cuda(interface: dict[str, Any], home: Place) -> Described:
    """It does not name the GPU: the driver is asked when the call is prepared."""
    kind = np.dtype(interface["typestr"])
    strides = interface.get("strides")
    return Described(
        address=interface["data"][0],
        device=(CUDA, home[1]),
        dtype=_NAMES.get(kind) or kind.str,
        shape=tuple(interface["shape"]),
        strides=None if strides is None else tuple(one // kind.itemsize for one in strides),
        read_only=interface["data"][1],
    )


def _checked(name: str, found: Described) -> Operand:
    if found.dtype not in DTYPES or not _is_contiguous(found.shape, found.strides):
        raise _no_operand(name, found.dtype, found.shape)
    return Operand(found.address, found.shape, found.dtype, found.read_only)


def _is_contiguous(shape: Sequence[int], strides: Sequence[int] | None) -> bool:
    """Whether elements follow each other in C order; `strides` in elements, None if they do."""
    if strides is None or 0 in shape:
        return True
    expected = 1
    for extent, stride in zip(reversed(shape), reversed(strides), strict=True):
        if extent > 1 and stride != expected:
            return False
        expected *= extent
    return True


def _no_operand(name: str, dtype: str, shape: tuple[int, ...]) -> UsageError:
    return UsageError(
        f"{name} is {dtype} of shape {shape}; allowed: contiguous arrays (C order) of dtype "
        f"{', '.join(DTYPES)}"
    )
