"""NVSHMEM's symmetric heap: memory that lies at one offset on all ranks, and is mapped by peers.

NVSHMEM starts from a unique id that MPI broadcasts, so that any MPI will do.

The Python bindings keep the interpreter's lock in some calls that wait for peers. Those go through
ctypes, which does not, so that the thread with the deadline can run. NVSHMEM ends the process at
many errors, with a line of its own; whatever can be asked before is asked before.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
from collections.abc import Callable, MutableMapping
from functools import cache
from typing import Any

from nvrar_bench import variables
from nvrar_bench.devices.cuda import driver
from nvrar_bench.devices.cuda.calls import Calls, load_calls
from nvrar_bench.errors import NvrarBenchError, Problem, Unavailable, UsageError
from nvrar_bench.world import World

_ID_BYTES = 128  # sizeof(nvshmemx_uniqueid_v1)
_UID_ARGUMENTS_AT, _UID_ARGUMENTS_BYTES = 8, 24  # nvshmemx_uniqueid_args_v1 in the arguments


def missing() -> str | None:
    """What NVSHMEM lacks here, and what to do about it; None if nothing. Starts nothing."""
    if importlib.util.find_spec("nvshmem") is None:
        return Problem("nvshmem4py is not installed", driver.install_command())
    try:
        NvshmemLibrary()
    except (ImportError, OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        what = f"NVSHMEM (libnvshmem_host.so.3) cannot be loaded ({reason})"
        return Problem(what, driver.install_command())
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


SIZE = "NVSHMEM_SYMMETRIC_SIZE"
# Where a block starts: NCCL registers memory in these units, and the kernels need less.
ALIGNMENT = 4096
# For what NVSHMEM's allocator puts between blocks, and the flags of the kernels.
_SPARE_BYTES = 64 << 20
_PLACEMENTS = {  # by nvshmemx_init_status_t
    2: "one rank per GPU",
    3: "several ranks per GPU, without MPS or beyond 100 % of its threads: limited",
    4: "several ranks per GPU, under MPS",
}


class SymmetricHeap:
    """NVSHMEM for the ranks of one world, on one GPU per rank or several ranks per GPU.

    All methods but `peers`, `register_module` and `facts` are collective. `nbytes` is
    what a rank will allocate in all; it counts where NVSHMEM takes its memory in one piece.

    NVSHMEM starts once in a process, for one set of ranks, whatever ends it. Where it `stays`, the
    heap of whoever comes next is the same one, of the same size. All ranks raise Unavailable where
    NVSHMEM is not there or does not start, UsageError where it was started for other ranks.
    """

    def __init__(
        self,
        world: World,
        ordinal: int,
        nbytes: int,
        calls: Calls | None = None,
        library: NvshmemLibrary | None = None,
        *,
        stays: bool = False,
    ) -> None:
        self._world, self._stays = world, stays
        self._calls = calls or load_calls()
        self._library = library or _load()
        self._allocated: dict[int, int] = {}  # what NVSHMEM returned, by our address
        self._modules: list[int] = []
        prepare_environment(nbytes, os.environ)
        self._make_current(ordinal)
        self._start_once()

    def allocate(self, nbytes: int) -> int:
        """Device pointer to at least `nbytes` zeroed bytes, aligned to ALIGNMENT.

        All ranks raise UsageError where there is no room.
        """
        # NVSHMEM clears what it gives by this call only, and aligns by another only.
        found = self._library.allocate(_rounded(nbytes) + ALIGNMENT)
        # It clears on a stream that nothing else waits for; peers write once they have heard of us.
        self._calls.cuCtxSynchronize()
        address = _rounded(found)
        everyone = self._world.comm.allgather((found != 0, address - found))
        if not all(there for there, _ in everyone):
            raise UsageError(
                f"NVSHMEM's symmetric heap has no room for {nbytes} bytes more "
                f"({SIZE}={os.environ.get(SIZE)}): use a smaller --max, or a larger {SIZE}"
            )
        if len(set(everyone)) > 1:
            raise NvrarBenchError(f"NVSHMEM's heaps differ in alignment: {everyone}")
        self._allocated[address] = found
        return address

    def free(self, address: int) -> None:
        """Give back what `allocate` returned."""
        self._library.free(self._allocated.pop(address))

    def leave(self, address: int, is_used: Callable[[], bool]) -> None:
        """Leave what `allocate` returned to those who use it; a later heap frees it."""
        self._library.left.append((self._allocated.pop(address), is_used))

    def peers(self, address: int) -> tuple[int, ...]:
        """Where every rank's copy of `address` is mapped here, 0 where it is not; by rank."""
        return tuple(self._library.pointer(address, rank) for rank in range(self._world.size))

    def register_module(self, library: int) -> None:
        """Let the kernels of a CUlibrary, linked with NVSHMEM's device library, use the heap.

        It comes before their first launch; a library that is known already stays so.
        NvrarBenchError: it is not linked so, or with another version.
        """
        if library in self._modules:
            return
        status = self._library.register(library)
        if status != 0:
            raise NvrarBenchError(
                f"NVSHMEM {self._library.version()} refuses the kernel (culibrary_init: {status}): "
                "it must be linked with libnvshmem_device.a of the same version"
            )
        self._modules.append(library)

    def facts(self) -> dict[str, Any]:
        """What a reader of the record needs to know of this NVSHMEM."""
        _, _, status = self._library.standing()
        return {
            "nvshmem": self._library.version(),
            "nvshmem_placement": _PLACEMENTS[status],
            "nvshmem_environment": variables.chosen(os.environ, variables.NVSHMEM),
        }

    def close(self) -> None:
        """Free everything; the GPU must be idle. Not after a failure: it waits for all ranks.

        NVSHMEM ends, unless it `stays`.
        """
        for library in self._modules:
            self._library.unregister(library)
        for address in list(self._allocated):
            self.free(address)
        if not self._stays:
            self._library.finalize()
            self._calls.cuDevicePrimaryCtxRelease(self._device)

    def _make_current(self, ordinal: int) -> None:
        """NVSHMEM takes the GPU whose context is current; it is the one that all else uses too."""
        cu = self._calls
        cu.cuInit(0)
        self._device = cu.cuDeviceGet(ordinal)
        cu.cuCtxSetCurrent(cu.cuDevicePrimaryCtxRetain(self._device))

    def _start_once(self) -> None:
        """Start NVSHMEM, unless it runs for these ranks."""
        comm, library = self._world.comm, self._library
        # With the process: other ranks may run on the same hosts.
        ranks = tuple(comm.allgather((self._world.host, os.getpid())))
        others = next((n for n in comm.allgather(self._others(ranks)) if n), 0)
        if others:
            raise UsageError(
                f"NVSHMEM was started in this process for {others} ranks, and cannot start again "
                f"for these {len(ranks)}; allowed on cuda: the same ranks at every open"
            )
        if not library.ranks:
            self._start()
            library.ranks = ranks
        self._reclaim()

    def _others(self, ranks: tuple[tuple[str, int], ...]) -> int:
        """How many ranks NVSHMEM was started for, if they are not these."""
        started = self._library.ranks
        return 0 if started in ((), ranks) else len(started)

    def _reclaim(self) -> None:
        """Free what earlier heaps left and no rank uses any more."""
        left = self._library.left
        everyone = self._world.comm.allgather([is_used() for _, is_used in left])
        kept = [any(used) for used in zip(*everyone, strict=True)]
        for (found, _), is_kept in zip(left, kept, strict=True):
            if not is_kept:
                self._library.free(found)
        left[:] = [one for one, is_kept in zip(left, kept, strict=True) if is_kept]

    def _start(self) -> None:
        world = self._world
        identity = world.comm.bcast(self._identity() if world.rank == 0 else b"", root=0)
        problem = identity if isinstance(identity, str) else self._initialize(identity)
        problems = [text for text in world.comm.allgather(problem) if text]
        if problems:
            raise Unavailable(problems[0])

    def _identity(self) -> bytes | str:
        try:
            return self._library.unique_id()
        except NvrarBenchError as error:
            return str(error)

    def _initialize(self, identity: bytes) -> str | None:
        world = self._world
        try:
            self._library.initialize(world.rank, world.size, identity)
        except NvrarBenchError as error:
            return f"rank {world.rank} on {world.host}: {error}"
        number, ranks, status = self._library.standing()
        if status not in _PLACEMENTS:  # it may have failed half-way, and not have said so
            return (
                f"NVSHMEM did not start on rank {world.rank} on {world.host} (status {status}): "
                "NVSHMEM_DEBUG=WARN says why"
            )
        if (number, ranks) == (world.rank, world.size):
            return None
        return (
            f"NVSHMEM calls rank {world.rank} of {world.size} on {world.host} its PE {number} of "
            f"{ranks}: unset the variables of another launcher (NVSHMEM_*, PMI_*)"
        )


def prepare_environment(nbytes: int, environment: MutableMapping[str, str]) -> None:
    """Set what NVSHMEM reads when it starts, unless the user has: room for `nbytes` per rank.

    NVSHMEM's own collectives, for which it would start an NCCL of its own, are not used.
    """
    environment.setdefault(SIZE, str(_rounded(nbytes) + _SPARE_BYTES))
    environment.setdefault("NVSHMEM_DISABLE_NCCL", "1")


def _load() -> NvshmemLibrary:
    problem = missing()
    if problem:
        raise Unavailable(problem)
    return _library()


@cache
def _library() -> NvshmemLibrary:
    """The one of this process, with what it remembers."""
    return NvshmemLibrary()


def _rounded(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT
