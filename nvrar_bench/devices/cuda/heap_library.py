"""NVSHMEM as the suite uses it: one method per call, and why it cannot be used where it cannot.

The Python bindings keep the interpreter's lock in some calls that wait for peers. Those go through
ctypes, which does not, so that the thread with the deadline can run. NVSHMEM ends the process at
many errors, with a line of its own; whatever can be asked before is asked before.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

from nvrar_bench.devices.cuda import driver
from nvrar_bench.errors import NvrarBenchError, Problem

_ID_BYTES = 128  # sizeof(nvshmemx_uniqueid_v1)
_UID_ARGUMENTS_AT, _UID_ARGUMENTS_BYTES = 8, 24  # nvshmemx_uniqueid_args_v1 in the arguments


def missing() -> str | None:
    """What NVSHMEM lacks here, and what to do about it; None if nothing. Starts nothing."""
    if importlib.util.find_spec("nvshmem") is None:
        return Problem("nvshmem4py is not installed", driver.install_command())
    try:
        NvshmemLibrary()
    except (ImportError, OSError, RuntimeError) as error:
        return Problem(
            f"NVSHMEM (libnvshmem_host.so.3) cannot be loaded ({str(error).splitlines()[0]})",
            driver.install_command(),
        )
    return None


class NvshmemLibrary:
    """NVSHMEM as the suite uses it: one method per call; a failed one raises NvrarBenchError.

    `ranks` are those that it was started for, host and process of each; `left` is memory that
    somebody uses still, and whether he does. Where library or bindings cannot be loaded, the
    constructor raises ImportError, OSError or RuntimeError.
    """

    def __init__(self) -> None:
        self.ranks: tuple[tuple[str, int], ...] = ()
        self.left: list[tuple[int, Callable[[], bool]]] = []
        loader = importlib.import_module("cuda.pathfinder")
        path = loader.load_nvidia_dynamic_lib("nvshmem_host").abs_path
        self._bindings: Any = importlib.import_module("nvshmem.bindings")
        self._host = ctypes.CDLL(path)
        self._host.nvshmem_calloc.argtypes = [ctypes.c_size_t, ctypes.c_size_t]
        self._host.nvshmem_calloc.restype = ctypes.c_void_p
        self._host.nvshmem_free.argtypes = [ctypes.c_void_p]
        self._host.nvshmem_free.restype = None
        self._host.nvshmemx_hostlib_finalize.argtypes = []
        self._host.nvshmemx_hostlib_finalize.restype = None

    def unique_id(self) -> bytes:
        """A new identity for a job; one rank makes it for all. It needs a network."""
        identity = self._bindings.uniqueid()
        self._must("get_uniqueid", identity.ptr)
        return ctypes.string_at(identity.ptr, _ID_BYTES)

    def initialize(self, rank: int, ranks: int, unique_id: bytes) -> None:
        """Start NVSHMEM on the current GPU; waits for all ranks."""
        identity = ctypes.create_string_buffer(unique_id, _ID_BYTES)
        attributes = _blank(self._bindings)
        where = ctypes.addressof(identity)
        self._must("set_attr_uniqueid_args", rank, ranks, where, attributes.ptr)
        flag = int(self._bindings.Flags.INIT_WITH_UNIQUEID)
        self._must("hostlib_init_attr", flag, attributes.ptr)

    def _must(self, name: str, *arguments: int) -> None:
        try:
            getattr(self._bindings, name)(*arguments)
        except self._bindings.NVSHMEMError as error:
            raise NvrarBenchError(
                f"{name} of NVSHMEM failed: {error}; NVSHMEM_DEBUG=INFO shows more"
            ) from error

    def standing(self) -> tuple[int, int, int]:
        """The number of this rank, the number of ranks, and a nvshmemx_init_status_t."""
        nvshmem = self._bindings
        return int(nvshmem.my_pe()), int(nvshmem.n_pes()), int(nvshmem.init_status())

    def version(self) -> str:
        """Such as `3.8.0`."""
        parts = [ctypes.c_int() for _ in range(3)]
        self._bindings.vendor_get_version_info(*(ctypes.addressof(part) for part in parts))
        return ".".join(str(part.value) for part in parts)

    def allocate(self, nbytes: int) -> int:
        """Zeroed bytes, or 0 where there is no room. Waits for all ranks."""
        return int(self._host.nvshmem_calloc(1, nbytes) or 0)

    def free(self, address: int) -> None:
        """Give back what `allocate` returned. Waits for all ranks."""
        self._host.nvshmem_free(address)

    def pointer(self, address: int, rank: int) -> int:
        """Where `rank`'s copy of `address` is mapped here, or 0."""
        return int(self._bindings.ptr(address, rank))

    def register(self, library: int) -> int:
        """Give a CUlibrary the state that its device functions need; 0 is success."""
        return int(self._bindings.culibrary_init(library))

    def unregister(self, library: int) -> int:
        """Take it back; 0 is success."""
        return int(self._bindings.culibrary_finalize(library))

    def finalize(self) -> None:
        """End NVSHMEM. Waits for all ranks, and for the GPU."""
        self._host.nvshmemx_hostlib_finalize()


def _blank(bindings: Any) -> Any:
    """Attributes as C's initialiser of version 1 has them; the bindings leave them undefined.

    By a leftover of version 2 in them NVSHMEM would choose a GPU of its own.
    """
    attributes = bindings.InitAttr()
    layout = bindings.init_attr_dtype
    ctypes.memset(attributes.ptr, 0, layout.itemsize)
    arguments_type, arguments_at = layout.fields["args"][:2]
    for offset, nbytes in (
        (0, layout.itemsize),
        (arguments_at, arguments_type.itemsize),
        (arguments_at + _UID_ARGUMENTS_AT, _UID_ARGUMENTS_BYTES),
    ):
        ctypes.c_int.from_address(attributes.ptr + offset).value = (1 << 16) + nbytes
    return attributes
