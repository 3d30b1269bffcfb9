"""The thin layer over nccl4py, and what the installed nccl4py must still offer."""

from __future__ import annotations

import inspect

import pytest

from nvrar_bench.backends import nccl_library
from nvrar_bench.backends.nccl_library import OPS, TYPES, NcclError, NcclLibrary
from nvrar_bench.datatypes import DTYPES
from nvrar_bench.datatypes import OPS as ALL_OPS
from nvrar_bench.devices.cuda.calls import CudaError

USED = {
    "get_version": (),
    "get_unique_id": (),
    "comm_init_rank_scalable": ("nranks", "myrank", "n_id", "comm_ids", "config"),
    "comm_window_register": ("comm", "buff", "size", "win_flags"),
    "comm_window_deregister": ("comm", "win"),
    "all_reduce": ("sendbuff", "recvbuff", "count", "datatype", "op", "comm", "stream"),
    "comm_get_async_error": ("comm",),
    "get_last_error": ("comm",),
    "comm_finalize": ("comm",),
    "comm_destroy": ("comm",),
    "comm_abort": ("comm",),
}


def test_every_type_and_op_has_its_number():
    assert set(TYPES) == set(DTYPES)
    assert set(OPS) == set(ALL_OPS)
    assert sorted(TYPES.values()) == list(range(12))
    assert sorted(OPS.values()) == list(range(5))


def test_the_numbers_are_those_of_nccl():
    core = pytest.importorskip("nccl.core.typing", exc_type=ImportError)
    assert {n: int(core.NcclDataType(row.numpy)) for n, row in DTYPES.items()} == TYPES
    assert {name: int(core.NcclRedOp[name.upper()]) for name in ALL_OPS} == OPS
    results = pytest.importorskip("nccl.bindings.nccl", exc_type=ImportError).Result
    assert (results.Success, results.InProgress) == (nccl_library.SUCCESS, nccl_library.IN_PROGRESS)


@pytest.fixture
def bindings():
    return pytest.importorskip("nccl.bindings.nccl", exc_type=ImportError)


@pytest.mark.parametrize("name", USED)
def test_nccl4py_has_what_is_used_of_it(bindings, name):
    assert tuple(inspect.signature(getattr(bindings, name)).parameters) == USED[name]


def test_nothing_else_of_nccl4py_is_used():
    source = inspect.getsource(NcclLibrary)
    called = {name for name in USED if f'"{name}"' in source or f"_nccl.{name}(" in source}
    assert called == set(USED)
    assert source.count("self._call(") == len(USED) - 1  # all but all_reduce


def test_the_structures_of_nccl4py_are_as_used(bindings):
    config = bindings.Config()
    config.blocking = 1
    assert (config.blocking, config.ptr != 0) == (1, True)
    assert not bindings.Window()
    assert not bindings.Comm()
    assert bindings.check_status(nccl_library.IN_PROGRESS) is None


def test_the_installed_library_answers_and_its_errors_are_ours(bindings):
    library = NcclLibrary()
    assert library.version() >= 22800
    null = bindings.Comm()
    with pytest.raises(
        NcclError, match=r"^comm_window_register of NCCL failed: (InvalidArgument|UnhandledCuda)"
    ):
        library.register(null, 4096, 4096)
    with pytest.raises(NcclError, match=r"^ncclAllReduce failed: InvalidArgument"):
        library.all_reduce(0, 0, 4, TYPES["float32"], OPS["sum"], null, 0)
    library.stop(null)
    library.abort(null)


class Driver:
    """As much of the CUDA driver as makes a GPU current; `broken` is a function that fails."""

    def __init__(self, broken: str = "") -> None:
        self.broken, self.current = broken, None

    def cuDeviceGet(self, ordinal):  # noqa: N802
        return f"device {ordinal}"

    def cuDevicePrimaryCtxRetain(self, device):  # noqa: N802
        if self.broken:
            raise CudaError("cuDevicePrimaryCtxRetain", self.broken, "")
        return f"context of {device}"

    def cuCtxSetCurrent(self, context):  # noqa: N802
        self.current = context


@pytest.fixture
def library() -> NcclLibrary:
    """Without NCCL."""
    return object.__new__(NcclLibrary)


def test_the_gpu_of_a_rank_becomes_the_current_one(library, monkeypatch):
    driver = Driver()
    monkeypatch.setattr(nccl_library, "load_calls", lambda: driver)
    library.make_current(5)
    assert driver.current == "context of device 5"


def test_a_gpu_that_cannot_be_used_is_an_error_of_ours(library, monkeypatch):
    driver = Driver("CUDA_ERROR_OUT_OF_MEMORY")
    monkeypatch.setattr(nccl_library, "load_calls", lambda: driver)
    with pytest.raises(NcclError, match=r"^GPU 5 cannot be used: .*Retain failed: CUDA_ERROR_OUT"):
        library.make_current(5)
