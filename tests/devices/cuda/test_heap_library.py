"""The thin layer over nvshmem4py, and what the installed nvshmem4py must still offer."""

from __future__ import annotations

import ctypes
import struct
from typing import Any

import pytest

from nvrar_bench.devices.cuda import heap, heap_library
from nvrar_bench.devices.cuda.heap_library import NvshmemLibrary

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

    monkeypatch.setattr(heap_library.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(heap_library, "NvshmemLibrary", broken)
    assert heap_library.missing() == (
        "NVSHMEM (libnvshmem_host.so.3) cannot be loaded (libnvshmem_host.so.3: no such file): "
        "pip install 'nvrar-bench[cuda13]'"
    )
    monkeypatch.setattr(heap_library.importlib.util, "find_spec", lambda name: None)
    assert heap_library.missing() == (
        "nvshmem4py is not installed: pip install 'nvrar-bench[cuda13]'"
    )


@pytest.fixture
def bindings():
    return pytest.importorskip("nvshmem.bindings", exc_type=ImportError)


@pytest.mark.parametrize("name", USED)
def test_nvshmem4py_has_what_is_used_of_it(bindings, name):
    first_line = getattr(bindings, name).__doc__.strip().splitlines()[0]
    assert first_line == name + USED[name]


def test_the_states_of_nvshmem_are_those_of_the_table(bindings):
    states = bindings.Init_status
    assert set(heap._PLACEMENTS) == {
        states.STATUS_IS_INITIALIZED, states.STATUS_LIMITED_MPG, states.STATUS_FULL_MPG,
    }  # fmt: skip
    assert issubclass(bindings.NVSHMEMError, Exception)


def test_the_attributes_are_as_c_would_set_them(bindings):
    NvshmemLibrary()  # loads what the bindings look for
    attributes = heap_library._blank(bindings)
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
    assert heap_library.missing() is None
