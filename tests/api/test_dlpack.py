"""Arrays of other libraries, and ours in theirs: nothing is copied, nothing is freed too early."""

from __future__ import annotations

import gc
import warnings
import weakref

import numpy as np
import pytest
from speaker import Speaker

from nvrar_bench.api import operand
from nvrar_bench.api.operand import Operand, read
from nvrar_bench.datatypes import DTYPES
from nvrar_bench.errors import UsageError


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [6, (2, 3), ()])
def test_symmetric_arrays_are_exported_where_they_lie(backend, dtype, shape):
    array = backend.empty(shape, dtype)
    found = operand.describe(array)
    assert (found.address, found.device) == (array.ctypes.data, operand.HOST)
    assert (found.dtype, found.shape, found.read_only) == (dtype, array.shape, False)
    assert array.__dlpack_device__() == operand.HOST
    assert read("send", array, operand.HOST) == Operand(found.address, array.shape, dtype)


def test_numpy_reads_what_is_exported(backend):
    array = backend.empty((2, 3), "float32")
    np.from_dlpack(array)[1, 2] = 5
    assert array[1, 2] == 5


def test_a_copy_is_not_made(backend):
    array = backend.empty(3, "bfloat16")
    with pytest.raises(BufferError, match="without a copy"):
        array.__dlpack__(copy=True)
    with pytest.raises(BufferError, match="without a copy"):
        array.__dlpack__(dl_device=(2, 0))
    capsule = array.__dlpack__(max_version=(1, 0), dl_device=(1, 0), copy=False)
    assert "dltensor" in repr(capsule)


def test_what_is_computed_of_such_arrays_is_numpys(backend):
    array = backend.empty(3, "bfloat16").astype(np.float32)
    assert np.from_dlpack(array).dtype == np.float32


def test_an_array_of_ours_that_got_another_dtype_is_read_again(backend):
    array = backend.empty(2, "float32")
    array[:] = 1, 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy discourages it
        array.dtype = np.int32
    backend.all_reduce(array)
    (key,) = backend._prepared
    assert key[0].dtype == "int32"


def test_part_of_an_array_has_its_strides(backend):
    found = operand.describe(backend.empty((4, 6), "bfloat16")[::2, 1:3])
    assert (found.shape, found.strides) == ((2, 2), (12, 1))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_arrays_of_others_are_reduced_where_they_lie(backend, dtype):
    send, recv = (Speaker(np.zeros((3, 5), DTYPES[dtype].numpy)) for _ in range(2))
    send.array[:] = np.arange(15).reshape(3, 5)
    backend.all_reduce(send, recv)
    assert (recv.array == send.array).all()


def test_makers_from_before_versions(backend):
    class Old(Speaker):
        def __dlpack__(self, stream=None):
            return self.array.__dlpack__()

    backend.all_reduce(Old(np.zeros(3, np.float32)))


Jax = type("ArrayImpl", (Speaker,), {"__module__": "jaxlib._jax"})
READ_ONLY = np.zeros(4, np.float32)
READ_ONLY.flags.writeable = False
GRADIENT = BufferError("use tensor.detach()")
REFUSED = {
    "on a GPU": (Speaker(np.zeros(4), (2, 1)), "recv lies in GPU 1; allowed with this open: host"),
    "elsewhere": (Speaker(np.zeros(4), (7, 0)), "recv lies in DLPack's device 7; allowed with"),
    "with gaps": (Speaker(np.zeros(8, np.float32)[::2]), "recv is float32 of shape (4,); allowed"),
    "another type": (Speaker(np.zeros(4, "c8")), "recv is DLPack's type 5 of 64 bits x 1 of shap"),
    "refused": (Speaker(np.zeros(4), refusal=GRADIENT), "recv cannot be read: use tensor.detach()"),
    "of JAX": (Jax(np.zeros(4, np.float32)), "recv is read-only; the result is written there"),
    "read-only": (Speaker(READ_ONLY), "recv is read-only; the result is written there"),
}


@pytest.mark.parametrize(("recv", "message"), REFUSED.values(), ids=REFUSED)
def test_arrays_of_others_that_do_not_fit(backend, recv, message):
    with pytest.raises(UsageError) as caught:
        backend.all_reduce(np.zeros(4, np.float32), recv)
    assert str(caught.value).startswith(message)


def test_an_array_that_is_read_only_can_be_sent(backend):
    recv = np.ones(4, np.float32)
    backend.all_reduce(Speaker(READ_ONLY), recv)
    assert not recv.any()


# ---- lifetimes ---------------------------------------------------------------------------------


def test_arrays_of_callers_are_not_kept_alive(backend):
    array = np.ones(4, np.float32)
    backend.all_reduce(array)
    gone = weakref.ref(array)
    del array
    gc.collect()
    assert gone() is None


def test_arrays_outlive_close_as_plain_memory(open_alone):
    with open_alone() as backend:
        kept, exported = backend.empty(1000, "float32"), np.from_dlpack(backend.empty(9, "int8"))
        capsule = backend.empty(1000, "bfloat16").__dlpack__()
        backend.all_reduce(kept)
    gc.collect()
    kept[:], exported[:] = 3, 4
    assert (kept.sum(), exported.sum()) == (3000, 36)
    del capsule, exported
    for use in (lambda: backend.all_reduce(kept), lambda: backend.empty(1, "int8")):
        with pytest.raises(UsageError, match=r"^nvrar is closed; open it again$"):
            use()
    backend.close()


def test_an_address_that_comes_back_as_symmetric_memory_is_prepared_anew(backend, monkeypatch):
    """Prepared as private memory, a rank would be the only one to copy."""
    memory = backend._memory
    block = memory.allocate(4096, "symmetric")
    memory._blocks.remove(block)
    backend.all_reduce(block.view(0, 400, np.dtype(np.float32)))
    (private,) = backend._prepared.values()
    monkeypatch.setattr(memory, "allocate", lambda *_: memory._blocks.append(block) or block)
    backend.all_reduce(backend.empty(100, "float32"))
    (symmetric,) = backend._prepared.values()
    assert symmetric is not private
    assert [bool(one._tables) for one in (private, symmetric)] == [False, True]
