"""Buffers of a sweep: where they lie, and what guards them."""

from __future__ import annotations

import numpy as np
import pytest

from nvrar_bench.devices.cpu import CpuDevice
from nvrar_bench.run.buffers import CaseBuffers, SweepBuffers
from nvrar_bench.settings.plans import build_plan
from nvrar_bench.verify import CANARY_BYTES, Expected

LONGEST = 4000


@pytest.fixture
def device(alone):
    return CpuDevice(alone, 1.0)


def a_case(nbytes: int, placement: str = "out_of_place", dtype: str = "float32"):
    (case,) = build_plan((nbytes,), dtypes=(dtype,), placements=(placement,))
    return case


@pytest.mark.parametrize("kind", ["symmetric", "private"])
@pytest.mark.parametrize("nbytes", [4, 100, LONGEST])
def test_buffers_start_on_a_cache_line_between_canaries(device, kind, nbytes):
    buffers = SweepBuffers(device, LONGEST, kind).of(a_case(nbytes))
    assert (device.memory.peers(buffers.send) is not None) == (kind == "symmetric")
    for array in (buffers.send, buffers.recv):
        assert array.shape == (nbytes // 4,)
        assert array.ctypes.data % 64 == 0
    start = buffers.recv.ctypes.data
    front, behind = buffers.around
    assert front.ctypes.data + CANARY_BYTES == start
    assert behind.ctypes.data == start + nbytes
    assert front.size == behind.size == CANARY_BYTES
    assert not np.may_share_memory(buffers.send, buffers.recv)


def test_in_place_both_are_one(device):
    buffers = SweepBuffers(device, LONGEST, "private").of(a_case(400, "in_place"))
    assert buffers.send is buffers.recv


def test_the_same_memory_serves_every_type(device):
    sweep = SweepBuffers(device, LONGEST, "private")
    arrays = [sweep.of(a_case(400, dtype=dtype)).recv for dtype in ("float32", "int8", "bfloat16")]
    assert [array.size for array in arrays] == [100, 400, 200]
    assert len({array.ctypes.data for array in arrays}) == 1


def test_spoiling_leaves_the_input_and_nothing_of_the_output(device):
    buffers = SweepBuffers(device, LONGEST, "private").of(a_case(400))
    buffers.restore(np.arange(100, dtype=np.float32))
    buffers.recv.fill(1)
    buffers.spoil()
    assert np.array_equal(buffers.send, np.arange(100))
    assert np.isnan(buffers.recv).all()


def test_spoiling_in_place_leaves_the_input(device):
    buffers = SweepBuffers(device, LONGEST, "private").of(a_case(400, "in_place"))
    buffers.restore(np.arange(100, dtype=np.float32))
    buffers.spoil()
    assert np.array_equal(buffers.recv, np.arange(100))


@pytest.mark.parametrize("is_read", [True, False])
@pytest.mark.parametrize("placement", ["in_place", "out_of_place"])
def test_the_input_is_written_anew_where_peers_may_keep_it(device, monkeypatch, is_read, placement):
    """Also by a device on which reading an output makes no difference."""
    if not is_read:
        monkeypatch.setattr(device.verifier, "read", lambda output: False)
    buffers = SweepBuffers(device, LONGEST, "private").of(a_case(400, placement))
    buffers.send.fill(7)
    buffers.renew(np.arange(100, dtype=np.float32))
    is_new = is_read or placement == "in_place"
    assert np.array_equal(buffers.send, np.arange(100) if is_new else np.full(100, 7))


@pytest.mark.parametrize("dtype", ["float32", "int8", "bfloat16", "float64"])
def test_an_output_of_any_type_and_length_can_be_read(device, dtype):
    for nbytes in (8, 24, 400):
        buffers = SweepBuffers(device, LONGEST, "private").of(a_case(nbytes, dtype=dtype))
        assert device.verifier.read(buffers.recv)
        assert device.verifier.read(buffers.recv[:1])


def intact(device: CpuDevice, buffers: CaseBuffers) -> bool:
    return device.verifier.check(buffers.recv, Expected(buffers.recv, None), buffers.around).intact


@pytest.mark.parametrize("where", [0, 1])  # before the output, behind it
@pytest.mark.parametrize("byte", [0, CANARY_BYTES - 1])
def test_one_byte_around_the_output_is_noticed(device, where, byte):
    buffers = SweepBuffers(device, LONGEST, "private").of(a_case(LONGEST))
    buffers.spoil()
    buffers.send.fill(3)
    buffers.recv.fill(3)
    assert intact(device, buffers)
    buffers.around[where][byte] ^= 1
    assert not intact(device, buffers)
    buffers.spoil()
    assert intact(device, buffers)


def test_released_blocks_are_given_back(device):
    sweep = SweepBuffers(device, LONGEST, "symmetric")
    send = sweep.of(a_case(400)).send
    sweep.release()
    assert device.memory.peers(send) is None
