"""An array as a call sees it, whichever library made it: address, shape, dtype."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from nvrar_bench.api import dlpack
from nvrar_bench.datatypes import DTYPES
from nvrar_bench.errors import UsageError

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


def read(name: str, array: Any, home: dlpack.Place) -> Operand:
    """Look at `array`, which a call got as `name` on the device `home`; nothing is copied.

    UsageError: it is no array, lies elsewhere, has gaps, or a dtype that the suite lacks.
    """
    if isinstance(array, np.ndarray):
        return _of_numpy(name, array, home)
    try:
        if hasattr(array, "__dlpack__"):
            device = dlpack.device_of(array)
            require_home(name, device, home)
            found = _checked(name, dlpack.read(array, device))
            return found._replace(read_only=found.read_only or _is_immutable(array))
        if hasattr(array, "__cuda_array_interface__"):
            require_home(name, (dlpack.CUDA, home[1]), home)
            return _checked(name, _of_cuda(array.__cuda_array_interface__, home))
    except (BufferError, RuntimeError) as error:  # as of a PyTorch tensor that needs its gradient
        raise UsageError(f"{name} cannot be read: {error}") from error
    raise UsageError(f"{name} is a {type(array).__name__}; allowed: {_SPEAKERS}")


def require_home(name: str, device: dlpack.Place, home: dlpack.Place) -> None:
    """Refuse an array that lies on another device than `home` (UsageError)."""
    if device != home:
        raise UsageError(
            f"{name} lies in {dlpack.in_words(device)}; allowed with this open: "
            f"{dlpack.in_words(home)}"
        )


def _of_numpy(name: str, array: np.ndarray[Any, Any], home: dlpack.Place) -> Operand:
    require_home(name, dlpack.HOST, home)
    dtype = _NAMES.get(array.dtype)
    if dtype is None or not array.flags.c_contiguous:
        raise _no_operand(name, str(array.dtype), array.shape)
    address, read_only = array.__array_interface__["data"]
    return Operand(address, array.shape, dtype, read_only)


def _is_immutable(array: Any) -> bool:
    """Whether it is JAX's: they must not be written, and not all versions say so in DLPack."""
    return type(array).__module__.partition(".")[0] in ("jax", "jaxlib")


def _of_cuda(interface: dict[str, Any], home: dlpack.Place) -> dlpack.Described:
    """It does not name the GPU: the driver is asked when the call is prepared."""
    kind = np.dtype(interface["typestr"])
    strides = interface.get("strides")
    return dlpack.Described(
        address=interface["data"][0],
        device=(dlpack.CUDA, home[1]),
        dtype=_NAMES.get(kind) or kind.str,
        shape=tuple(interface["shape"]),
        strides=None if strides is None else tuple(one // kind.itemsize for one in strides),
        read_only=interface["data"][1],
    )


def _checked(name: str, found: dlpack.Described) -> Operand:
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
