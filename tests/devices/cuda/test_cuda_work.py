"""Work on a fake GPU: which kernels run on what, what cuBLAS is asked for, and what is refused."""

from __future__ import annotations

import ctypes
import importlib

import numpy as np
import pytest

from nvrar_bench.devices.cuda.device import open_cublas
from nvrar_bench.devices.cuda.work import WORKSPACE_BYTES, Cublas, CublasError
from nvrar_bench.devices.work import Gemm, Spin, Stream
from nvrar_bench.errors import Unavailable, UsageError
from nvrar_bench.toolchain.structs import CWorkMemory

MEMORY = 4 * 8192  # of the fake GPU's L2 cache


class Recorder:
    """nvmath.bindings.cublas without cuBLAS; `broken` names a function that fails."""

    def __init__(self, broken: str = ""):
        self.calls, self._broken = [], broken

    def create(self):
        if self._broken == "create":
            raise RuntimeError("no libcublas.so")
        return 7

    def __getattr__(self, name):
        def call(*arguments):
            self.calls.append((name, *arguments))
            if name == self._broken:
                raise RuntimeError("it broke")

        return call


@pytest.fixture
def cublas():
    return Recorder()


@pytest.fixture
def opened(open_device, driver, cublas):
    """`opened(virtual_ranks=2)`: a device whose cuBLAS only records."""
    driver.memory = 1 << 27

    def make(**how):
        return open_device(
            open_cublas=lambda *where: Cublas(*where, "pip install it", cublas), **how
        )

    return make


def memory_of(device) -> CWorkMemory:
    return CWorkMemory.from_buffer_copy(device.memory.to_host(device.works._work_memory).tobytes())


@pytest.mark.parametrize("ranks", [1, 3])
def test_reads_go_on_in_memory_that_is_larger_than_the_cache(opened, driver, ranks):
    device = opened(virtual_ranks=ranks)
    work = device.work(Stream(10_000))
    nbytes = -(-10_000 * ranks // 256) * 256
    facts = device.facts()
    assert (facts["work_memory_bytes"], facts["last_level_cache_bytes"]) == (MEMORY, 8192)
    (memory,) = device.memory.addresses(device.works._work_memory)
    for count in (1, 2, 3):
        driver.log.clear()
        work.launch()
        assert memory_of(device).next == count * nbytes % MEMORY
        assert driver.calls("run nvrar_read_memory") == ["run nvrar_read_memory"]
    driver.noted = {"nvrar_read_memory"}
    work.launch()
    device.context.drain("the read")
    assert driver.notes == [("nvrar_read_memory", [memory, nbytes, 1])]
    assert memory_of(device).words == device.works._words.address
    assert len(np.unique(device.memory.to_host(device.works._words).view(np.uint64))) == MEMORY // 8


def test_a_read_is_spread_over_all_multiprocessors(opened, monkeypatch):
    device, seen = opened(), []
    work = device.work(Stream(1 << 20))
    launch = lambda _, blocks, y, z, threads, *rest: seen.append((blocks, threads))  # noqa: E731
    monkeypatch.setattr(device.context.calls, "cuLaunchKernel", launch)
    work.launch()
    assert seen == [(8 * device.gpu.sms, 256)]


def test_a_wait_is_one_thread_and_bounded(opened, driver):
    device = opened()
    device.work(Spin(1000)).launch()
    device.context.drain("the wait")
    assert driver.calls("run nvrar_spin") == ["run nvrar_spin"]
    with pytest.raises(UsageError, match=r"allowed: 0 to 0\.5 s"):
        device.work(Spin(10**9))


@pytest.mark.parametrize(
    ("dtype", "kind", "compute", "one"),
    [
        ("bfloat16", 14, 68, ctypes.c_float), ("float16", 2, 68, ctypes.c_float),
        ("float32", 0, 68, ctypes.c_float), ("float64", 1, 70, ctypes.c_double),
    ],
)  # fmt: skip
def test_matrices_are_multiplied_on_the_stream_each_by_the_next_weights(
    opened, cublas, dtype, kind, compute, one
):
    device = opened(virtual_ranks=2)
    work = device.work(Gemm(((2, 8, 16), (3, 16, 4)), dtype))
    (_, handle, stream), (_, _, workspace, nbytes) = cublas.calls
    assert (handle, stream, nbytes) == (7, device.context.stream_handle, WORKSPACE_BYTES)
    assert workspace == device.works._workspace.address
    cublas.calls.clear()
    first, size = device.works._turns._next, np.dtype(work._left.dtype).itemsize
    work.launch()
    words, places = device.works._matrices.address, []
    for (name, *arguments), (m, n, k) in zip(
        cublas.calls, [(2, 8, 16), (3, 16, 4)] * 2, strict=True
    ):
        alpha, beta = arguments[6], arguments[13]
        assert (one.from_address(alpha).value, one.from_address(beta).value) == (1, 0)
        places.append(arguments[7] - words)
        assert (name, *arguments) == (
            "gemm_ex", 7, 1, 0, n, m, k, alpha, words + places[-1], kind, k, work._left.address,
            kind, k, beta, work._out.address, kind, n, compute, -1,
        )  # fmt: skip
        assert work._left.count >= m * k
        assert work._out.count >= m * n
    steps = [-(-n * k * size // 256) * 256 for n, k in [(8, 16), (16, 4)] * 2]
    assert places == [first + sum(steps[:i]) for i in range(4)]
    device.close()
    assert cublas.calls[-1] == ("destroy", 7)


def test_what_cannot_be_multiplied_says_why(opened, cublas, monkeypatch):
    device = opened()
    with pytest.raises(UsageError, match=r"matrices of int8: allowed with cuBLAS: float32,"):
        device.work(Gemm(((1, 2, 3),), "int8"))
    with pytest.raises(UsageError, match=r"a matrix of 64K: works read 32K of memory in turns"):
        device.work(Gemm(((1, 64, 256),)))
    cublas._broken = "gemm_ex"
    with pytest.raises(CublasError, match=r"^gemm_ex of cuBLAS failed: it broke$"):
        device.work(Gemm(((1, 2, 3),))).launch()
    with pytest.raises(Unavailable, match=r"^cuBLAS cannot be used \(no libcublas.so\): pip it$"):
        Cublas(1, 2, "pip it", Recorder("create"))

    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(Unavailable, match=r"nvmath.*: pip install 'nvrar-bench\[gemm1[23]\]'$"):
        open_cublas(1, 2)
