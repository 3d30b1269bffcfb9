"""Work on a CPU rank: what is read, in which order, what is multiplied, how long is waited."""

from __future__ import annotations

import importlib
import time

import numpy as np
import pytest

from nvrar_bench.devices import native
from nvrar_bench.devices.cpu import CpuDevice
from nvrar_bench.devices.machine import Caches
from nvrar_bench.devices.work import Gemm, Spin, Stream
from nvrar_bench.errors import Unavailable, UsageError

CACHE = 1024
MEMORY = 4 * CACHE
UNLIKELY = 0x6E7672617220  # kernels/work.cuh


@pytest.fixture
def open_device(alone, monkeypatch):
    """`open_device(seats=2, step=10_000)`: a device whose cache holds 1 KiB."""
    caches = Caches(CACHE, 0, frozenset({"0"}), "sysfs")
    monkeypatch.setattr(native, "caches_of", lambda _: caches)

    def make(seats: int = 1, step: int = 0) -> CpuDevice:
        device = CpuDevice(alone.with_virtual_ranks(seats) if seats > 1 else alone, 1.0)
        device.reserve(step)
        return device

    return make


@pytest.mark.parametrize(
    ("seats", "step", "expected"), [(1, 0, MEMORY), (1, 10_000, 10_240), (2, 10_000, 20_224)]
)
def test_works_read_as_much_memory_as_a_step_and_more_than_a_cache_holds(
    open_device, seats, step, expected
):
    device = open_device(seats, step)
    assert "work_memory_bytes" not in device.facts()
    device.work(Stream(1))
    facts = device.facts()
    assert facts["work_memory_bytes"] == device.works._words.nbytes == expected
    assert facts["work_memory_holds_a_step"]
    assert (facts["last_level_cache_bytes"], facts["last_level_cache_from"]) == (CACHE, "sysfs")


def test_a_longer_step_goes_round_and_too_little_memory_is_refused(open_device, monkeypatch):
    device = open_device(step=1 << 20)
    monkeypatch.setattr(device.memory, "available", lambda: 4 * 2 * MEMORY + 5)
    device.work(Stream(1))
    assert device.facts()["work_memory_bytes"] == 2 * MEMORY
    assert not device.facts()["work_memory_holds_a_step"]
    device = open_device()
    monkeypatch.setattr(device.memory, "available", lambda: 4 * MEMORY - 1)
    with pytest.raises(UsageError, match=r"reads 4K of memory on each rank.*, and 3.75K may"):
        device.work(Stream(1))


def test_what_is_there_to_read_differs_and_is_finite_whatever_float_reads_it(open_device):
    device = open_device()
    device.work(Stream(1))
    words = device.works._words
    assert len(np.unique(words.view(np.uint64))) == MEMORY // 8
    for dtype in (np.float16, np.float32, np.float64):
        values = words.view(dtype).astype(np.float64)
        assert np.isfinite(values).all()
        assert values.any()
        assert values.min() < 0 < values.max()


def test_each_read_goes_on_where_the_last_one_ended_and_goes_round(open_device):
    """A word that is marked is seen by the read that comes by it, and by no other."""
    device = open_device()
    short, long = device.work(Stream(1500)), device.work(Stream(MEMORY + 300))
    memory, words = device.works._work_memory, device.works._words.view(np.uint64)
    for read, first, end, marks in (
        (short, 0, 1536, {0: 1, 1528: 1, 1536: 0, MEMORY - 8: 0}),
        (long, 1536, 2048, {2048: 1, MEMORY - 8: 1, 0: 1}),
        (short, 2048, 3584, {2040: 0, 2048: 1, 3576: 1, 3584: 0}),
        (short, 3584, 1024, {3576: 0, 3584: 1, MEMORY - 8: 1, 0: 1, 1016: 1, 1024: 0}),
    ):
        for mark, seen in marks.items():
            words[:] = 0
            words[mark // 8] = UNLIKELY
            memory.next, before = first, memory.seen
            read.launch()
            assert (memory.seen - before, memory.next) == (seen, end), mark


def test_virtual_ranks_read_for_all(open_device):
    device = open_device(seats=3)
    device.work(Stream(512)).launch()
    assert device.works._work_memory.next == 3 * 512


def test_a_wait_lasts_and_is_bounded(open_device):
    device = open_device()
    start = time.perf_counter_ns()
    device.work(Spin(2_000_000)).launch()
    assert time.perf_counter_ns() - start >= 2_000_000
    for nanoseconds in (-1, 1_000_000_001):
        with pytest.raises(UsageError, match=r"allowed: 0 to 1 s.*--timeout"):
            device.work(Spin(nanoseconds))


def test_matrices_are_multiplied_by_the_next_weights(open_device):
    pytest.importorskip("threadpoolctl")
    device = open_device()
    work = device.work(Gemm(((2, 8, 16), (3, 16, 4)), "float32"))
    words, turns = device.works._matrices, device.works._turns
    turns.take(0)
    first = turns._next
    work.launch()
    for (left, (n, k), out), at in zip(work._products, (first, first + 512), strict=True):
        weights = words[at : at + 4 * n * k].view(np.float32).reshape(n, k)
        np.testing.assert_allclose(out, left @ weights.T, rtol=1e-5)
        assert (weights != 0).all()
    for _ in range(20):  # past the end
        work.launch()
    assert device.facts()["blas_threads"] == 1
    assert device.facts()["work_memory_bytes"] == MEMORY
    device.work(Stream(1))
    assert device.facts()["work_memory_bytes"] == 2 * MEMORY
    assert not np.may_share_memory(words, device.works._words)
    with pytest.raises(UsageError, match="a matrix of 8K: works read 4K of memory in turns"):
        device.work(Gemm(((1, 64, 32),)))


def test_what_cannot_be_multiplied_says_what_can(open_device, monkeypatch):
    device = open_device()
    with pytest.raises(UsageError, match=r"matrices of bfloat16: allowed .*: float32, float64; or"):
        device.work(Gemm(((1, 2, 3),), "bfloat16"))

    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(Unavailable, match=r"threadpoolctl.*: pip install 'nvrar-bench\[gemm\]'"):
        device.work(Gemm(((1, 2, 3),)))
