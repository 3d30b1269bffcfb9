"""The symmetric heap by a library that only records what it is asked to do, and NVSHMEM's own."""

from __future__ import annotations

import ctypes
import struct
from dataclasses import replace
from typing import Any

import pytest

from nvrar_bench.devices.cuda import heap as heaps
from nvrar_bench.devices.cuda.heap import (
    ALIGNMENT,
    SIZE,
    NvshmemLibrary,
    SymmetricHeap,
    prepare_environment,
)
from nvrar_bench.errors import NvrarBenchError, Unavailable, UsageError


class Recorder:
    """NvshmemLibrary without NVSHMEM, and the driver beside it: both write into `did`."""

    def __init__(self) -> None:
        self.did: list[tuple[Any, ...]] = []
        self.broken = ""
        self.place = (0, 1, 2)
        self.next = 0x10000 + 512
        self.status = 0
        self.ranks, self.left = (), []

    def _did(self, name: str, *arguments: Any) -> None:
        self.did.append((name, *arguments))
        if name == self.broken:
            raise NvrarBenchError(f"{name} broke")

    def names(self) -> list[str]:
        return [call[0] for call in self.did]

    def unique_id(self) -> bytes:
        self._did("unique_id")
        return b"identity"

    def initialize(self, rank: int, ranks: int, unique_id: bytes) -> None:
        self._did("initialize", rank, ranks, unique_id)

    def standing(self) -> tuple[int, int, int]:
        return self.place

    def version(self) -> str:
        return "3.8.0"

    def allocate(self, nbytes: int) -> int:
        self._did("allocate", nbytes)
        found = self.next
        self.next += nbytes if found else 0
        return found

    def free(self, address: int) -> None:
        self._did("free", address)

    def pointer(self, address: int, rank: int) -> int:
        return address + 0x1000000 * rank if rank != 1 else 0

    def register(self, library: int) -> int:
        self._did("register", library)
        return self.status

    def unregister(self, library: int) -> int:
        self._did("unregister", library)
        return 0

    def finalize(self) -> None:
        self._did("finalize")

    # the driver

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("cu"):
            raise AttributeError(name)

        def call(*arguments: Any) -> str:
            self._did(name, *arguments)
            return f"{name} gave this"

        return call


class Gathering:
    """A communicator of two ranks, of which the other always has `others` to give."""

    size = 2

    def __init__(self, rank: int, *others: Any) -> None:
        self.rank, self.others = rank, list(others)

    def bcast(self, value: Any, root: int = 0) -> Any:
        return value if self.rank == 0 else self.others.pop(0)

    def allgather(self, value: Any) -> list[Any]:
        both = [value, self.others.pop(0) if self.others else value]
        return both if self.rank == 0 else both[::-1]


OTHER = ("there", 1)  # host and process
FINE: tuple[Any, ...] = (OTHER, 0)  # what the other says before NVSHMEM starts


def two(alone: Any, rank: int, *others: Any) -> Any:
    return replace(alone, comm=Gathering(rank, *others), hosts=("here", "there"), machine_of=(0, 1))


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    """Whatever is set on the way is unset afterwards."""
    for name in (SIZE, "NVSHMEM_DISABLE_NCCL"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture
def library():
    return Recorder()


def opened(world: Any, library: Recorder) -> SymmetricHeap:
    return SymmetricHeap(world, 3, 1 << 30, calls=library, library=library)


# ---- start ---------------------------------------------------------------------------------------


def test_the_gpu_is_current_before_nvshmem_starts(alone, library):
    opened(alone, library)
    assert library.did == [
        ("cuInit", 0),
        ("cuDeviceGet", 3),
        ("cuDevicePrimaryCtxRetain", "cuDeviceGet gave this"),
        ("cuCtxSetCurrent", "cuDevicePrimaryCtxRetain gave this"),
        ("unique_id",),
        ("initialize", 0, 1, b"identity"),
    ]


def test_one_rank_makes_the_identity_for_all(alone, library):
    library.place = (1, 2, 2)
    opened(two(alone, 1, *FINE, b"from rank 0"), library)
    assert "unique_id" not in library.names()
    assert library.did[-1] == ("initialize", 1, 2, b"from rank 0")


@pytest.mark.parametrize("name", ["unique_id", "initialize"])
def test_what_fails_is_unavailable(alone, library, name):
    library.broken = name
    with pytest.raises(Unavailable, match=f"{name} broke"):
        opened(alone, library)


def test_what_failed_on_another_rank_fails_here_too(alone, library):
    library.place = (0, 2, 2)
    with pytest.raises(Unavailable, match=r"^rank 1 on there: broke$"):
        opened(two(alone, 0, *FINE, "rank 1 on there: broke"), library)


@pytest.mark.parametrize("status", [0, 1, 255])
def test_a_start_that_failed_without_a_word_is_noticed(alone, library, status):
    library.place = (0, 1, status)
    said = rf"^NVSHMEM did not start on rank 0 on here \(status {status}\): NVSHMEM_DEBUG=WARN"
    with pytest.raises(Unavailable, match=said):
        opened(alone, library)


@pytest.mark.parametrize("place", [(1, 2, 2), (0, 1, 2)])
def test_another_number_than_the_rank_is_refused(alone, library, place):
    library.place = place
    with pytest.raises(Unavailable, match=f"its PE {place[0]} of {place[1]}: unset the variables"):
        opened(two(alone, 0), library)


def test_the_size_is_what_the_run_needs_unless_the_user_says_otherwise(alone, library):
    variables: dict[str, str] = {}
    prepare_environment(100, variables)
    assert variables == {SIZE: str(4096 + (64 << 20)), "NVSHMEM_DISABLE_NCCL": "1"}
    variables = {SIZE: "20m", "NVSHMEM_DISABLE_NCCL": "0"}
    prepare_environment(1 << 40, variables)
    assert variables == {SIZE: "20m", "NVSHMEM_DISABLE_NCCL": "0"}
    facts = opened(alone, library).facts()
    assert int(facts["nvshmem_environment"][SIZE]) >= 1 << 30


# ---- memory --------------------------------------------------------------------------------------


@pytest.mark.parametrize("nbytes", [1, 4096, 4097, 1 << 20])
def test_blocks_are_aligned_and_lie_within_what_nvshmem_gave(alone, library, nbytes):
    heap = opened(alone, library)
    found = library.next
    address = heap.allocate(nbytes)
    (given,) = (did[1] for did in library.did if did[0] == "allocate")
    assert address % ALIGNMENT == 0
    assert found <= address
    assert address + nbytes <= found + given
    heap.free(address)
    assert library.did[-1] == ("free", found)


def test_no_room_on_any_rank_is_no_room_on_all(alone, library):
    heap = opened(alone, library)
    library.next = 0
    with pytest.raises(UsageError, match="has no room for 5000 bytes more"):
        heap.allocate(5000)
    library.place = (0, 2, 2)
    library.ranks = ()
    heap = opened(two(alone, 0, *FINE, None, [], (False, 0)), library)
    library.next = 8192
    with pytest.raises(UsageError, match="has no room"):
        heap.allocate(5000)


def test_heaps_that_are_not_alike_are_refused(alone, library):
    library.place = (0, 2, 2)
    heap = opened(two(alone, 0, *FINE, None, [], (True, 16)), library)
    with pytest.raises(NvrarBenchError, match="differ in alignment"):
        heap.allocate(5000)


def test_peers_are_listed_by_rank_with_0_for_those_out_of_reach(alone, library):
    library.place = (0, 2, 2)
    assert opened(two(alone, 0), library).peers(4096) == (4096, 0)


# ---- modules, end --------------------------------------------------------------------------------


def test_a_kernel_that_nvshmem_refuses_is_an_error(alone, library):
    heap = opened(alone, library)
    heap.register_module(123)
    assert library.did[-1] == ("register", 123)
    library.status = 7
    with pytest.raises(NvrarBenchError, match=r"NVSHMEM 3.8.0 refuses the kernel .*: 7\)"):
        heap.register_module(124)


def test_the_end_gives_everything_back_in_order(alone, library):
    heap = opened(alone, library)
    heap.allocate(100)
    heap.register_module(123)
    library.did.clear()
    heap.close()
    assert library.did == [
        ("unregister", 123),
        ("free", 0x10000 + 512),
        ("finalize",),
        ("cuDevicePrimaryCtxRelease", "cuDeviceGet gave this"),
    ]


# ---- again ---------------------------------------------------------------------------------------


def stays(world: Any, library: Recorder) -> SymmetricHeap:
    return SymmetricHeap(world, 3, 1 << 30, calls=library, library=library, stays=True)


def test_nvshmem_that_stays_is_not_started_again(alone, library):
    first = stays(alone, library)
    second = stays(alone, library)
    first.close()
    second.close()
    stays(alone, library).allocate(100)
    assert library.names().count("initialize") == 1
    assert "finalize" not in library.names()


def test_other_ranks_are_refused_on_every_rank(alone, library):
    stays(alone, library)
    with pytest.raises(UsageError, match="started in this process for 1 ranks, and cannot start"):
        stays(two(alone, 0, *FINE), library)
    fresh = Recorder()
    with pytest.raises(UsageError, match="for 4 ranks, and cannot start again for these 2"):
        stays(two(alone, 0, OTHER, 4), fresh)
    assert "initialize" not in fresh.names()


def test_memory_that_is_used_after_the_end_is_freed_when_a_later_heap_opens(alone, library):
    heap = stays(alone, library)
    used = [True]
    heap.leave(heap.allocate(100), lambda: used[0])
    heap.close()
    stays(alone, library)
    assert "free" not in library.names()
    used[0] = False
    stays(alone, library)
    assert library.did[-1] == ("free", 0x10000 + 512)
    assert library.left == []


def test_facts_tell_whether_ranks_share_a_gpu(alone, library):
    heap = opened(alone, library)
    assert heap.facts()["nvshmem"] == "3.8.0"
    assert heap.facts()["nvshmem_placement"] == "one rank per GPU"
    library.place = (0, 1, 3)
    assert "without MPS" in heap.facts()["nvshmem_placement"]


def test_it_says_what_is_missing(alone, monkeypatch):
    monkeypatch.setattr(heaps, "missing", lambda: "nvshmem4py is not installed")
    with pytest.raises(Unavailable, match="nvshmem4py is not installed"):
        SymmetricHeap(alone, 0, 1, calls=Recorder())
    monkeypatch.setattr(heaps, "missing", lambda: None)
    monkeypatch.setattr(heaps, "_library", Recorder)
    SymmetricHeap(alone, 0, 1, calls=Recorder())


# By its documentation string: functions of Cython have no signature.
USED = {
    "get_uniqueid": "(intptr_t uniqueid)",
    "set_attr_uniqueid_args": "(int myrank, int nranks, intptr_t uniqueid, intptr_t attr)",
    "hostlib_init_attr": "(unsigned int flags, intptr_t attr)",
    "my_pe": "() -> int",
    "n_pes": "() -> int",
    "init_status": "() -> int",
    "vendor_get_version_info": "(intptr_t major, intptr_t minor, intptr_t patch) -> void",
    "ptr": "(intptr_t dest, int pe) -> intptr_t",
    "culibrary_init": "(intptr_t library) -> int",
    "culibrary_finalize": "(intptr_t library) -> int",
}


def test_what_is_missing_comes_with_its_fix(monkeypatch):
    def broken() -> Any:
        raise OSError("libnvshmem_host.so.3: no such file\nand more")

    monkeypatch.setattr(heaps.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(heaps, "NvshmemLibrary", broken)
    assert heaps.missing() == (
        "NVSHMEM (libnvshmem_host.so.3) cannot be loaded (libnvshmem_host.so.3: no such file): "
        "pip install 'nvrar-bench[cuda13]'"
    )

    def silent() -> Any:
        raise ImportError

    monkeypatch.setattr(heaps, "NvshmemLibrary", silent)
    assert "cannot be loaded (ImportError): " in heaps.missing()
    monkeypatch.setattr(heaps.importlib.util, "find_spec", lambda name: None)
    assert heaps.missing() == ("nvshmem4py is not installed: pip install 'nvrar-bench[cuda13]'")


@pytest.fixture
def bindings():
    return pytest.importorskip("nvshmem.bindings", exc_type=ImportError)


@pytest.mark.parametrize("name", USED)
def test_nvshmem4py_has_what_is_used_of_it(bindings, name):
    first_line = getattr(bindings, name).__doc__.strip().splitlines()[0]
    assert first_line == name + USED[name]


def test_the_states_of_nvshmem_are_those_of_the_table(bindings):
    states = bindings.Init_status
    assert set(heaps._PLACEMENTS) == {
        states.STATUS_IS_INITIALIZED, states.STATUS_LIMITED_MPG, states.STATUS_FULL_MPG,
    }  # fmt: skip
    assert issubclass(bindings.NVSHMEMError, Exception)


def test_the_attributes_are_as_c_would_set_them(bindings):
    NvshmemLibrary()  # loads what the bindings look for
    attributes = heaps._blank(bindings)
    identity = ctypes.create_string_buffer(128)
    where = ctypes.addressof(identity)
    bindings.set_attr_uniqueid_args(5, 9, where, attributes.ptr)
    version_1 = 1 << 16
    expected = bytearray(144)
    for offset, kind, value in (
        (0, "@i", version_1 + 144),
        (16, "@i", version_1 + 128),
        (24, "@i", version_1 + 24),
        (32, "@P", where),
        (40, "@i", 5),
        (44, "@i", 9),
    ):
        struct.pack_into(kind, expected, offset, value)
    assert ctypes.string_at(attributes.ptr, bindings.init_attr_dtype.itemsize) == bytes(expected)


def test_the_installed_library_loads_and_makes_an_identity(bindings):
    library = NvshmemLibrary()
    assert int(library.version().split(".")[0]) >= 3
    first, second = library.unique_id(), library.unique_id()
    assert len(first) == len(second) == 128
    assert struct.unpack("@i", first[:4]) == ((1 << 16) + 128,)
    assert heaps.missing() is None
