"""Host memory of one rank, without MPI; several ranks are in test_shared_memory.py."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nvrar_bench.devices import cpu
from nvrar_bench.devices.cpu import CpuDevice
from nvrar_bench.verify import Expected


@pytest.fixture
def device(alone):
    return CpuDevice(alone, 1.0)


@pytest.mark.parametrize("kind", ["symmetric", "private"])
@pytest.mark.parametrize("nbytes", [1, 4096, 10_000])
def test_memory_is_zero_page_aligned_and_large_enough(device, kind, nbytes):
    array = device.memory.allocate(nbytes, kind).bytes
    assert array.size == -(-nbytes // 4096) * 4096
    assert array.ctypes.data % 4096 == 0
    assert not array.any()
    array.fill(255)
    assert array.all()


def test_only_symmetric_memory_has_a_home(device):
    symmetric, private = (
        device.memory.allocate(8192, "symmetric"),
        device.memory.allocate(8192, "private"),
    )
    assert device.memory.peers(private.bytes) is None
    assert device.memory.peers(np.zeros(8)) is None
    (start,) = symmetric.peers
    for first, size in ((0, 8192), (100, 8), (8191, 1)):
        view = symmetric.bytes[first : first + size]
        assert device.memory.peers(view) == (start + first,)


@pytest.mark.parametrize("kind", ["symmetric", "private"])
def test_every_seat_of_virtual_ranks_has_a_row(alone, kind):
    device = CpuDevice(alone.with_virtual_ranks(3), 1.0)
    block = device.memory.allocate(5000, kind)
    array = block.view(64, 400, np.dtype(np.float32))
    assert array.shape == (3, 100)
    first, second, third = device.memory.addresses(array)
    assert second - first == third - second == 8192
    peers = device.memory.peers(array)
    assert peers == ((first, second, third) if kind == "symmetric" else None)
    device.memory.copy(array, np.arange(300, dtype=np.float32).reshape(3, 100))
    assert array[2, 99] == 299
    guard = block.view(464, 64, np.dtype(np.uint8))
    device.verifier.spoil(array, (guard,), poison=False)
    assert array[2, 99] == 299
    right = Expected(array[2], None)
    assert device.verifier.check(array, right, (guard,)).intact
    guard[1, 7] ^= 1
    assert not device.verifier.check(array, right, (guard,)).intact
    device.verifier.spoil(array)
    assert np.isnan(array).all()


def test_memory_that_was_released_has_no_home(device):
    block = device.memory.allocate(8192, "symmetric")
    device.memory.release(block)
    assert device.memory.peers(block.bytes) is None


def test_waiters_give_up_their_core_at_once_where_cores_are_few(alone):
    class Two:
        size = 2

    assert CpuDevice(alone, 1.0).spin == cpu.SPIN > 0
    assert CpuDevice(replace(alone, host_comm=Two()), 1.0).spin == cpu.SPIN_OVERSUBSCRIBED == 0
    assert CpuDevice(replace(alone, host_comm=Two(), cores=2), 1.0).spin == cpu.SPIN
