"""The Python interface on GPUs: memory, streams, capture and errors, on a driver that is a fake."""

from __future__ import annotations

import gc
from types import SimpleNamespace

import numpy as np
import pytest
from fake_driver import FakeDriver
from speaker import Speaker

from nvrar_bench import api
from nvrar_bench.api import operand
from nvrar_bench.api.all_reduce import AllReduce
from nvrar_bench.api.gpu import GpuCaller
from nvrar_bench.backends.mpi import MpiCudaBackend, Support
from nvrar_bench.backends.nvrar.backend import NvrarBackend
from nvrar_bench.backends.nvrar.cuda import LoopbackEngine
from nvrar_bench.datatypes import DTYPES
from nvrar_bench.devices.cuda.calls import Calls
from nvrar_bench.devices.cuda.device import CudaDevice, GpuPlacement
from nvrar_bench.devices.cuda.driver import describe
from nvrar_bench.errors import TimedOut, Unavailable, UsageError
from nvrar_bench.toolchain import host

GPU = (operand.CUDA, 0)
STREAM = 70


class Driver(FakeDriver):
    """Remembers on which streams kernels were launched."""

    def __init__(self):
        super().__init__(memory=1 << 31)
        self.streams = []

    def cuLaunchKernel(self, *arguments):  # noqa: N802
        self.streams.append(arguments[8])
        return super().cuLaunchKernel(*arguments)


class Heap:
    """Symmetric memory of one rank is memory of its GPU."""

    def __init__(self, driver):
        self.driver, self.left, self.is_open = driver, [], True

    def allocate(self, nbytes):
        address = self.driver.cuMemAlloc(nbytes)[1]
        self.driver.held[address][:] = 0
        return address

    def free(self, address):
        self.driver.cuMemFree(address)

    def leave(self, address, is_used):
        self.left.append((address, is_used))

    def peers(self, address):
        return (address,)

    def close(self):
        self.is_open = False


class Interface:
    """An array that shows the CUDA array interface alone."""

    def __init__(self, array, **changes):
        self.array = array
        self.__cuda_array_interface__ = {**array.__array_interface__, **changes}


@pytest.fixture
def driver():
    return Driver()


@pytest.fixture
def heap(driver):
    return Heap(driver)


@pytest.fixture
def device(alone, driver, heap, kernel_cache):
    calls = Calls(driver)
    placement = GpuPlacement(describe(calls, 0), (), 1)
    build = lambda kernel, arch: str(host.build(kernel)).encode()  # noqa: E731
    return CudaDevice(alone, 0.5, placement, heap=heap, calls=calls, build=build, timed=False)


@pytest.fixture
def backend(alone, device):
    nvrar = NvrarBackend(alone, LoopbackEngine(alone, device), 0.5)
    with AllReduce(nvrar, GpuCaller(device), device.memory, "auto") as backend:
        yield backend


def seen(array):
    """What lies in the memory of the fake GPU."""
    found = operand.describe(array)
    view = np.ctypeslib.as_array(
        (np.ctypeslib.ctypes.c_uint8 * array.nbytes).from_address(found[0])
    )
    return view.view(array.dtype).reshape(array.shape)


def aligned(count, dtype=np.float32):
    whole = np.zeros(count + 4, dtype)
    first = -whole.ctypes.data % 16 // whole.itemsize
    return whole[first : first + count]


@pytest.fixture
def opened_with(monkeypatch, device):
    """What `open` asked of the device, which it gets."""
    options = []
    monkeypatch.setattr(api, "open_device", lambda *asked: options.append(asked[-1]) or device)
    return options


def test_open_asks_for_a_heap_that_holds_arrays_and_staging(alone, opened_with):
    with api.open("nvrar", alone, "cuda", heap_bytes=1 << 20) as backend:
        assert backend.empty((2, 3), "bfloat16").shape == (2, 3)
    (options,) = opened_with
    assert (options.heap_required, options.nvshmem_stays, options.share) == (True, True, False)
    assert 1 << 20 < options.heap_bytes < 100 << 20


def test_a_backend_that_is_not_there_leaves_no_device_open(alone, opened_with, heap, monkeypatch):
    monkeypatch.setattr("nvrar_bench.backends.nccl.missing", lambda *_: "nccl4py is not installed")
    with pytest.raises(Unavailable, match="nccl4py is not installed"):
        api.open("nccl", alone, "cuda", share_gpu=True)
    assert not heap.is_open
    assert [(one.heap_required, one.share) for one in opened_with] == [(False, True)]


# ---- arrays --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_show_one_address_both_ways(backend, driver, dtype):
    array = backend.empty((2, 3), dtype)
    found, interface = operand.describe(array), array.__cuda_array_interface__
    assert (found.device, found.dtype, found.shape) == (GPU, dtype, (2, 3))
    assert interface["data"] == (found.address, False)
    assert (interface["shape"], interface["typestr"]) == ((2, 3), DTYPES[dtype].numpy.str)
    assert found.address in driver.held
    assert not seen(array).any()
    assert repr(array) == f"<SymmetricArray {dtype} (2, 3) on GPU 0>"


def test_a_copy_is_not_made(backend):
    array = backend.empty(3, "float32")
    for how in ({"copy": True}, {"dl_device": operand.HOST}):
        with pytest.raises(BufferError, match="without a copy"):
            array.__dlpack__(**how)


def test_arrays_of_all_makers_are_reduced(backend):
    ours = backend.empty(5, "float32")
    for other in (
        Speaker(aligned(5), GPU),
        Speaker(aligned(5), (operand.CUDA_MANAGED, 0)),
        Interface(aligned(5)),
    ):
        other.array[:] = [1, 2, 3, 4, 5]
        backend.all_reduce(other, ours)
        backend.synchronize()
        assert seen(ours).tolist() == [1, 2, 3, 4, 5]
        seen(ours)[:] = 7
        backend.all_reduce(ours, other, op="max")
        backend.synchronize()
        assert other.array.tolist() == [7] * 5


def test_an_export_is_asked_for_without_waiting(backend):
    speaker = Speaker(aligned(5), GPU)
    backend.all_reduce(speaker)
    assert speaker.asked == [{"stream": -1, "max_version": (1, 0)}]


def test_arrays_that_lie_elsewhere(backend, driver):
    far = aligned(4)
    driver.elsewhere[far.ctypes.data] = 3
    for array, place in (
        (np.zeros(4), "host memory"),
        (Speaker(np.zeros(4)), "host memory"),
        (Speaker(np.zeros(4), (operand.CUDA, 1)), "GPU 1"),
        (Interface(far), "GPU 3"),
    ):
        with pytest.raises(UsageError) as caught:
            backend.all_reduce(array)
        assert str(caught.value) == f"send lies in {place}; allowed with this open: GPU 0"


def test_other_arrays_that_do_not_fit(backend):
    odd = aligned(8)
    for array, message in (
        (Interface(odd[1:5]), "send starts at 0x"),
        (Interface(odd[::2]), "send is float32 of shape (4,); allowed: contiguous arrays"),
        (Interface(odd.view(np.uint16).view("V2")), "send is |V2 of shape (16,); allowed: contig"),
    ):
        with pytest.raises(UsageError) as caught:
            backend.all_reduce(array)
        assert str(caught.value).startswith(message)


# ---- streams and graphs --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "address"),
    [
        (None, 0),
        (STREAM, STREAM),
        (SimpleNamespace(cuda_stream=STREAM), STREAM),
        (SimpleNamespace(ptr=STREAM), STREAM),
        (SimpleNamespace(__cuda_stream__=lambda: (0, STREAM)), STREAM),
    ],
)
def test_calls_run_on_the_stream_of_the_caller(backend, driver, stream, address):
    array = backend.empty(5, "float32")
    backend.all_reduce(array, stream=stream)
    assert driver.streams[-1] == address
    assert backend._caller._context.stream_handle not in (0, STREAM)


def test_what_is_no_stream(backend):
    with pytest.raises(UsageError, match=r"^stream is a str; allowed: None, the address of a stre"):
        backend.all_reduce(backend.empty(5, "float32"), stream="main")


def capture(driver, action):
    calls = Calls(driver)
    calls.cuStreamBeginCapture(STREAM, 2)
    try:
        action()
    finally:
        graph = calls.cuStreamEndCapture(STREAM)
    return calls.cuGraphInstantiate(graph, 0)


def test_a_prepared_call_is_captured_without_a_call_that_waits_or_allocates(backend, driver):
    send, recv = backend.empty(5, "float32"), backend.empty(5, "float32")
    backend.all_reduce(send, recv, stream=STREAM)
    backend.synchronize(STREAM)
    driver.log.clear()
    graph = capture(driver, lambda: backend.all_reduce(send, recv, stream=STREAM))
    (launch,) = {name for name in driver.log if "Launch" in name and name != "cuGraphLaunch"}
    assert driver.log == [
        "cuStreamBeginCapture",
        launch,
        "cuStreamEndCapture",
        "cuGraphInstantiate",
    ]
    for number in (3, 4):
        seen(send)[:] = number
        driver.cuGraphLaunch(graph, STREAM)
        backend.synchronize(STREAM)
        assert seen(recv).tolist() == [number] * 5


def test_a_call_that_is_not_prepared_cannot_be_captured(backend, driver):
    array = backend.empty(5, "float32")
    for _ in range(2):
        with pytest.raises(UsageError, match="call it once, with the same arrays and op, before"):
            capture(driver, lambda: backend.all_reduce(array, stream=STREAM))
    backend.all_reduce(array, stream=STREAM)
    capture(driver, lambda: backend.all_reduce(array, stream=STREAM))


def test_mpi_cannot_be_captured(alone, device, driver):
    mpi = MpiCudaBackend(alone, device, 0.5, Support(True, "asked for"))
    mpi._on = lambda case, *_: SimpleNamespace(launch=lambda: None)
    with AllReduce(mpi, GpuCaller(device), device.memory, "auto") as backend:
        array = backend.empty(5, "float32")
        backend.all_reduce(array, stream=STREAM)
        with pytest.raises(UsageError, match="cannot be captured; allowed: nvrar, nccl"):
            capture(driver, lambda: backend.all_reduce(array, stream=STREAM))


# ---- ends ----------------------------------------------------------------------------------------


def test_close_gives_memory_back_that_nobody_uses(backend, driver, heap):
    backend.all_reduce(backend.empty(5, "float32"))
    backend.close()
    gc.collect()
    assert (heap.left, heap.is_open) == ([], False)
    assert driver.held == {}


def test_memory_of_arrays_that_are_used_is_left_to_them(backend, driver, heap):
    array = backend.empty(5, "float32")
    exported = operand.describe(array), array.__dlpack__()
    backend.close()
    ((address, is_used),) = heap.left
    assert address in driver.held
    closed = "the backend that made this array is closed"
    with pytest.raises(UsageError, match=closed):
        backend.all_reduce(array)
    with pytest.raises(UsageError, match=closed):
        array.__dlpack__()
    with pytest.raises(UsageError, match=closed):
        _ = array.__cuda_array_interface__
    del array
    gc.collect()
    assert is_used()
    del exported
    gc.collect()
    assert not is_used()


def test_what_gives_up_is_heard_of_and_closing_waits_for_nobody(backend, driver, heap):
    array = backend.empty(5, "float32")
    backend.all_reduce(array)
    driver.stuck = True
    with pytest.raises(TimedOut, match=r"the GPU did not finish packet in 0.5 s"):
        backend.synchronize()
    backend.close()
    assert heap.is_open
    assert "cuCtxSynchronize" not in driver.log
