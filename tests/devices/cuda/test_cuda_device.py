"""Memory, checks, launches and waits of a GPU, on a fake driver whose memory is the host's."""

from __future__ import annotations

import ctypes
import gc
import re

import numpy as np
import pytest
from fake_driver import CUresult

from nvrar_bench.backends.base import Operation
from nvrar_bench.datatypes import DTYPES
from nvrar_bench.devices.cuda import memory
from nvrar_bench.devices.cuda.calls import CudaError
from nvrar_bench.devices.cuda.memory import DeviceArray
from nvrar_bench.errors import TimedOut, Unavailable, UsageError
from nvrar_bench.toolchain.kernel import CUDA_GATE
from nvrar_bench.verify import (
    CANARY_BYTES,
    Expected,
    KnownReduction,
    check,
    poison,
    write_canary,
)

BYTE = np.dtype(np.uint8)


class Heap:
    """Symmetric memory of two ranks, in plain memory."""

    def __init__(self):
        self.held = {}
        self.closed = False

    def allocate(self, nbytes):
        array = np.zeros(nbytes, np.uint8)
        self.held[array.ctypes.data] = array
        return array.ctypes.data

    def free(self, address):
        del self.held[address]

    def peers(self, address):
        return (address, 0, 1 << 40)

    def facts(self):
        return {"nvshmem": "3.8"}

    def close(self):
        assert not self.held, "blocks go before the heap"
        self.closed = True


@pytest.mark.parametrize("kind", ["private", "symmetric"])
def test_memory_is_zero_and_released(open_device, driver, kind):
    heap = Heap()
    device = open_device(heap=heap)
    before = set(driver.held)
    block = device.memory.allocate(1000, kind)
    assert block.nbytes >= 1000
    assert (block.address in heap.held) == (kind == "symmetric")
    assert not device.memory.to_host(block.view(0, 1000, BYTE)).any()
    device.memory.release(block)
    assert not heap.held
    assert set(driver.held) == before


def test_only_symmetric_memory_has_peers_and_those_that_are_not_mapped_stay_0(open_device):
    device = open_device(heap=Heap())
    symmetric, private = (
        device.memory.allocate(1000, "symmetric"),
        device.memory.allocate(1000, "private"),
    )
    array = symmetric.view(64, 128, np.dtype(np.float32))
    assert device.memory.peers(array) == (symmetric.address + 64, 0, (1 << 40) + 64)
    assert device.memory.addresses(array) == (symmetric.address + 64,)
    assert device.memory.peers(private.view(64, 128, BYTE)) is None
    device.memory.release(symmetric)
    assert device.memory.peers(array) is None


def test_symmetric_memory_without_a_heap_says_what_to_do(device):
    with pytest.raises(Unavailable, match=r"NVSHMEM.*--buffers private"):
        device.memory.allocate(100, "symmetric")


def test_virtual_ranks_are_rows_that_all_reach(open_device):
    device = open_device(virtual_ranks=3)
    block = device.memory.allocate(1000, "symmetric")
    array = block.view(64, 40, np.dtype(np.float32))
    assert array.shape == (3, 10)
    starts = [block.address + 64 + row * block.nbytes for row in range(3)]
    assert device.memory.addresses(array) == device.memory.peers(array) == tuple(starts)
    assert device.memory.peers(device.memory.allocate(9, "private").view(0, 9, BYTE)) is None
    values = np.arange(30, dtype=np.float32).reshape(3, 10)
    device.memory.copy(array, device.memory.keep(values))
    assert np.array_equal(device.memory.to_host(array), values)
    part = array[..., :4]
    assert np.array_equal(device.memory.to_host(part), values[:, :4])


def test_all_rows_are_copied_in_one_call_unless_they_lie_too_far_apart(
    open_device, driver, monkeypatch
):
    device = open_device(virtual_ranks=3)
    values = np.arange(30, dtype=np.float32).reshape(3, 10)
    source = device.memory.keep(values)
    for most, calls in ((1 << 20, ["cuMemcpy2DAsync"]), (1000, ["cuMemcpyDtoDAsync"] * 3)):
        monkeypatch.setattr(memory, "_MOST_PITCH", most)
        target = device.memory.allocate(1000, "private").view(64, 40, np.dtype(np.float32))
        driver.log.clear()
        device.memory.copy(target, source)
        assert driver.log == calls
        assert np.array_equal(device.memory.to_host(target), values)


def test_too_much_memory_names_what_is_asked_for_and_what_is_free(device, driver):
    free = device.memory.available()
    assert free < driver.memory
    with pytest.raises(UsageError, match=rf"no room for 67108864 bytes, {free} of 16777216 are"):
        device.memory.allocate(1 << 26, "private")


PROBLEMS = [
    KnownReduction("bfloat16", "sum", 3, "exact", 5),
    KnownReduction("float32", "avg", 14, "exact", 5),  # has choices
    KnownReduction("int8", "max", 3, "rounding", 5),
    KnownReduction("float8_e4m3", "prod", 3, "rounding", 5),
]


@pytest.mark.parametrize("count", [0, 1, 3000])
@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
def test_problems_are_made_on_the_gpu_for_all_rows(open_device, driver, problem, count):
    device = open_device(virtual_ranks=3)
    driver.log.clear()
    inputs, expected = (
        device.verifier.inputs(problem, count),
        device.verifier.expected(problem, count),
    )
    on_host = problem.expected(count)
    rows = np.stack([problem.inputs(rank, count) for rank in range(3)])
    assert device.memory.to_host(inputs).tobytes() == rows.tobytes()
    assert np.allclose(device.memory.to_host(expected.value), on_host.value, rtol=1e-15, atol=0)
    assert (expected.tolerance is None) == (on_host.tolerance is None)
    if expected.tolerance is not None:
        assert np.allclose(device.memory.to_host(expected.tolerance), on_host.tolerance, rtol=1e-15)
    assert expected.mode == on_host.mode
    ran = [name for name in driver.log if name.startswith("run nvrar_")]
    assert len(ran) == (2 if count else 0), "one launch for all rows"
    assert driver.calls("cuMemcpyHtoDAsync") == ["cuMemcpyHtoDAsync"] * min(count, 1)


@pytest.mark.parametrize("shape", [(5,), (1,), (0,), (3, 4)])
def test_what_is_kept_comes_back(device, shape):
    values = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    kept = device.memory.keep(values)
    assert kept.shape == shape
    assert np.array_equal(device.memory.to_host(kept), values)


def test_kept_memory_is_freed_but_not_at_the_moment_it_is_dropped(device, driver):
    """The stream may be held at that moment, and cuMemFree would wait for it."""
    kept = device.memory.keep(np.zeros(100))
    address, before = kept.address, driver.log.count("cuMemFree")
    part = kept[:10]
    del kept
    gc.collect()
    device.memory.allocate(1, "private")
    assert address in driver.held, "a part keeps the whole"
    del part
    gc.collect()
    assert driver.log.count("cuMemFree") == before
    device.memory.allocate(1, "private")
    assert address not in driver.held


def test_a_copy_of_another_shape_is_refused(device):
    with pytest.raises(UsageError, match=r"shape \(4,\) does not fit \(3,\)"):
        device.memory.copy(device.memory.keep(np.zeros(3)), device.memory.keep(np.zeros(4)))


def test_parts_of_an_array():
    array = DeviceArray(1000, 10, np.dtype(np.int64), 2, 100)
    part = array[3:5]
    assert (part.address, part.count, part.rows, part.row(1)) == (1024, 2, 2, 1124)
    assert array[20:].count == 0
    with pytest.raises(UsageError, match="steps of 2"):
        array[::2]


@pytest.mark.parametrize("name", list(DTYPES))
def test_poison_is_that_of_the_host(open_device, name):
    device = open_device(virtual_ranks=2)
    block = device.memory.allocate(4096, "private")
    dtype = DTYPES[name].numpy
    array = block.view(64, 100 * dtype.itemsize, dtype)
    device.verifier.spoil(array)
    expected = np.zeros((2, block.nbytes), np.uint8)
    poison(expected[:, 64 : 64 + array.nbytes].view(dtype))
    whole = device.memory.to_host(block.view(0, block.nbytes, BYTE))
    assert np.array_equal(whole, expected)


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("place", [0, 17, CANARY_BYTES - 1])
def test_a_broken_canary_is_seen_in_any_row(open_device, place, side):
    device = open_device(virtual_ranks=2)
    block = device.memory.allocate(1000, "private")
    output = block.view(100 + CANARY_BYTES, 200, BYTE)
    around = tuple(block.view(at, CANARY_BYTES, BYTE) for at in (100, 364))
    before = device.memory.keep(np.arange(400, dtype=np.uint8).reshape(2, 200))
    device.memory.copy(output, before)
    device.verifier.spoil(output, around, poison=False)
    written = np.empty(CANARY_BYTES, np.uint8)
    write_canary(written)
    assert all(np.array_equal(device.memory.to_host(view), [written] * 2) for view in around)
    assert np.array_equal(device.memory.to_host(output), device.memory.to_host(before))
    nothing = Expected(device.memory.keep(np.zeros(200, np.uint8)), None)
    assert device.verifier.check(output, nothing, around).intact
    ctypes.memset(around[side].row(1) + place, 0, 1)
    assert not device.verifier.check(output, nothing, around).intact
    device.verifier.spoil(output, around)
    assert device.verifier.check(output, nothing, around).intact


@pytest.mark.parametrize("mode", ["exact", "rounding"])
@pytest.mark.parametrize("name", ["float32", "bfloat16", "float8_e4m3", "int64", "uint8"])
def test_a_check_finds_what_the_hosts_check_finds(open_device, name, mode):
    device = open_device(virtual_ranks=3)
    problem = KnownReduction(name, "sum", 3, mode, 9)
    expected = problem.expected(1000)
    tolerance = expected.tolerance
    kept = Expected(
        device.memory.keep(expected.value),
        None if tolerance is None else device.memory.keep(tolerance),
        expected.mode,
    )
    right = expected.value.astype(DTYPES[name].numpy)
    rows = np.stack([right, right, right])[:, :700].copy()
    rows[1, [13, 14, 699]] = problem.inputs(0, 1000)[[13, 14, 699]]
    rows[2, 0] = 0
    results = device.verifier.check(device.memory.keep(rows), kept).results
    assert results == [check(row, expected, 700, rank) for rank, row in enumerate(rows)]
    assert [result.wrong > 0 for result in results] == [False, True, True]


def test_a_check_of_nothing_passes(device):
    expected = Expected(device.memory.keep(np.ones(4)), None)
    assert (
        device.verifier.check(device.memory.keep(np.ones(0)), expected).results[0].status
        == "passed"
    )


def test_a_check_refuses_what_it_cannot_compare(device):
    expected = Expected(device.memory.keep(np.ones(4)), None)
    with pytest.raises(UsageError, match="count is 5; allowed: 0 to 4"):
        device.verifier.check(device.memory.keep(np.ones(5)), expected)
    with pytest.raises(UsageError, match="received int32; allowed: float64"):
        device.verifier.check(device.memory.keep(np.ones(4, np.int32)), expected)
    with pytest.raises(UsageError, match=r"ndarray; it must lie in GPU memory"):
        device.verifier.check(device.memory.keep(np.ones(4)), Expected(np.ones(4), None))


class Call(Operation):
    variant = "ring"
    stream_ordered = True

    def __init__(self, driver):
        self.driver = driver

    def launch(self):
        """Nothing to do."""

    def confirm(self):
        self.driver.log.append("confirm")


def test_finishing_waits_and_then_asks_the_operation(device, driver):
    driver.log.clear()
    device.finish(Call(driver))
    assert driver.log[-2:] == ["cuEventQuery", "confirm"]


def test_a_wait_that_does_not_end_names_the_rank_and_the_host(open_device, driver):
    device = open_device(timeout=0.05)
    driver.stuck = True
    with pytest.raises(TimedOut, match=r"rank 0 on here: the GPU did not finish ring in 0.05 s"):
        device.finish(Call(driver))
    assert "confirm" not in driver.log


@pytest.mark.parametrize(
    ("action", "call"),
    [
        (lambda device, block, kept: device.memory.allocate(1, "private"), "cuMemAlloc"),
        (lambda device, block, kept: device.memory.keep(np.ones(3)), "cuMemAlloc"),
        (lambda device, block, kept: device.memory.keep(np.ones(1 << 16)), "cuMemHostAlloc"),
        (lambda device, block, kept: device.memory.to_host(kept), "cuMemHostAlloc"),
        (lambda device, block, kept: device.memory.release(block), "cuMemFree"),
    ],
)
def test_what_waits_for_the_gpu_without_a_deadline_comes_after_a_wait_that_has_one(
    open_device, driver, action, call
):
    device = open_device(timeout=0.02)
    block, kept = device.memory.allocate(100, "private"), device.memory.empty(1 << 17, np.uint8)
    driver.stuck = True
    driver.log.clear()
    with pytest.raises(TimedOut):
        action(device, block, kept)
    assert call not in driver.log


def test_an_error_has_its_function_its_name_and_its_meaning(device, driver):
    driver.fail["cuEventQuery"] = CUresult.CUDA_ERROR_ILLEGAL_ADDRESS
    message = "cuEventQuery failed: CUDA_ERROR_ILLEGAL_ADDRESS (what it means)"
    with pytest.raises(CudaError, match=f"^{re.escape(message)}$"):
        device.finish(Call(driver))
    driver.fail.clear()
    driver.fail["cuMemAlloc"] = CUresult.CUDA_ERROR_INVALID_VALUE
    with pytest.raises(CudaError, match="cuMemAlloc failed: CUDA_ERROR_INVALID_VALUE"):
        device.memory.allocate(1, "private")


def test_a_launch_passes_integers_and_structures(device, driver):
    class Structure(ctypes.Structure):
        _fields_ = (("first", ctypes.c_uint64), ("second", ctypes.c_uint64))

    seen = []

    def launched(function, *rest):
        pointers = (ctypes.c_void_p * 2).from_address(rest[8])
        seen.append(ctypes.c_uint64.from_address(pointers[0]).value)
        seen.append(Structure.from_address(pointers[1]).second)
        seen.append(rest[:7])
        return (CUresult.CUDA_SUCCESS,)

    driver.cuLaunchKernel = launched
    kernel = device.context.load(device.build(CUDA_GATE), "nvrar_nothing")
    device.context.launch(kernel, 3, 64, 1 << 60, Structure(1, 2))
    assert seen == [1 << 60, 2, (3, 1, 1, 64, 1, 1, 0)]


def test_a_grid_that_does_not_run_at_once_is_refused_with_both_numbers(device):
    kernel = device.context.load(device.build(CUDA_GATE), "nvrar_nothing")
    device.context.require_resident(kernel, 8, 128)
    with pytest.raises(UsageError, match=r"9 blocks of 128 threads .* Fake GPU runs 8 of them"):
        device.context.require_resident(kernel, 9, 128)


def test_facts_name_the_gpu_the_driver_and_the_clock(device):
    facts = device.facts()
    assert facts["gpu"] == "Fake GPU"
    assert facts["gpu_uuid"] == "GPU-00000000-0000-0000-0000-000000000000"
    assert facts["gpu_arch"] == device.gpu.arch == "sm_90"
    assert facts["gpu_clock_mhz"] == 1980
    assert facts["gpu_memory_clock_mhz"] is None
    assert facts["cuda_driver"] == "13.0"
    assert facts["event_resolution_us"] is None, "this clock stands still between events"
    assert facts["event_cost_us"] == 0
    assert device.timer.event_ruler_ns is None, "a resolution that was not seen judges no figure"
    assert facts["launch_cost_us"] > 0
    assert device.facts() == facts, "measured once"
    assert device.warnings() == ()


@pytest.mark.parametrize("graph", [1, 10])
def test_the_events_are_a_ruler_of_samples(open_device, monkeypatch, graph):
    device = open_device(graph=graph)
    monkeypatch.setattr(device.timer, "_empty_events_us", lambda: (0.5, 1.5))
    assert device.timer.event_ruler_ns == (500.0, 1500.0)


def test_a_sample_has_fewer_calls_of_messages_that_take_longer(device):
    sizes = [1, 128 << 10, 4 << 20, (4 << 20) + 1, 8 << 20, 64 << 20, 1 << 30]
    assert [device.timer.batch_for(size) for size in sizes] == [25, 25, 25, 24, 12, 1, 1]


def test_a_call_from_cold_caches_stands_alone(open_device):
    assert open_device(cold_cache=True).timer.batch_for(1) == 1


def test_closing_gives_all_memory_back(open_device, driver):
    device = open_device(cold_cache=True)
    device.memory.allocate(100, "private")
    kept = device.memory.keep(np.ones(3))
    del kept
    device.close()
    assert driver.held == {}


def test_a_heap_is_closed_with_the_device(open_device):
    heap = Heap()
    device = open_device(heap=heap)
    assert device.facts()["nvshmem"] == "3.8"
    device.memory.allocate(100, "symmetric")
    device.close()
    assert heap.closed


def test_a_block_is_cleared(device):
    block = device.memory.allocate(100, "private")
    ctypes.memset(block.address, 1, block.nbytes)
    device.memory.clear(block)
    assert not device.memory.to_host(block.view(0, block.nbytes, BYTE)).any()


def test_a_gate_for_one_rank_opens(device):
    device.start_gate()()


def test_a_library_is_loaded_once_for_all_its_kernels(device, driver):
    cubin = device.build(CUDA_GATE)
    driver.log.clear()
    first, second = (device.context.load(cubin, name) for name in ("nvrar_hold", "nvrar_nothing"))
    assert first.library == second.library
    assert first.function != second.function
    assert driver.calls("cuLibraryLoadData") == []
    assert driver.calls("cuLibraryGetKernel") == ["cuLibraryGetKernel"] * 2
