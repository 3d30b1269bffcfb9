"""The CPU device of one rank, and what it finds on its machine; more in test_shared_memory.py."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from nvrar_bench.devices import cpu, machine
from nvrar_bench.devices.cpu import CpuDevice
from nvrar_bench.inventory import system
from nvrar_bench.verify import Expected

WORKER = Path(__file__).with_name("worker_write_costs.py")
MIB = 1 << 20


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


def test_memory_of_other_machines_is_nowhere_whatever_the_offset(alone):
    first = SimpleNamespace(rank=0, size=2)
    two = replace(alone, comm=first, hosts=("a", "b"), machine_of=(0, 1))
    device = CpuDevice(two, 1.0)
    block = device.memory.allocate(8192, "symmetric")
    assert device.memory.peers(block.bytes[100:108]) == (block.address + 100, 0)


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


# ---- what makes MPI slow: seen, and said with what to do -----------------------------------------


class Comm(SimpleNamespace):
    """The communicator of a rank that speaks for two."""

    rank, size = 0, 2

    def allgather(self, mine):
        return [mine, mine]


@pytest.fixture
def world():
    comm = Comm()
    return SimpleNamespace(comm=comm, host_comm=comm, host="vm", oversubscribed=False)


@pytest.fixture(autouse=True)
def healthy(monkeypatch):
    """A machine on which nothing is wrong."""
    monkeypatch.setattr(machine, "shm_room", lambda: (64 * MIB, 64 * MIB))
    monkeypatch.setattr(machine, "cpu_quota", lambda: None)
    monkeypatch.setattr(cpu, "library_version", lambda: "Open MPI v5.0.11")
    monkeypatch.setattr(cpu, "write_costs", lambda _: (5000.0, 1000.0))


def test_nothing_is_said_of_a_machine_on_which_nothing_is_wrong(world):
    assert cpu.problems(world) == ()


def test_a_shm_without_room_is_told_where_open_mpi_needs_it(world, monkeypatch):
    monkeypatch.setattr(machine, "shm_room", lambda: (8 * MIB, 64 * MIB))
    (text,) = cpu.problems(world)
    assert text.startswith("vm: /dev/shm has 8 MiB free, and Open MPI needs 16 MiB")
    assert "--shm-size" in text
    monkeypatch.setattr(cpu, "library_version", lambda: "MPICH 5.0.2")
    assert cpu.problems(world) == ()


def test_no_shm_at_all(monkeypatch):
    def none():
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(machine, "shm_room", none)
    assert "there is no /dev/shm" in machine.shm_problem()
    assert system._shm().status == "missing"


@pytest.mark.parametrize(("quota", "told"), [(None, False), (2.0, False), (1.5, True)])
def test_a_quota_below_the_ranks_is_told(world, monkeypatch, quota, told):
    monkeypatch.setattr(machine, "cpu_quota", lambda: quota)
    texts = cpu.problems(world)
    assert bool(texts) is told
    assert all("2 ranks" in text and "1.5 cores" in text and "--cpus" in text for text in texts)


def test_cores_that_are_far_apart_are_told_once(world, monkeypatch):
    monkeypatch.setattr(cpu, "write_costs", lambda _: (26_000.0, 1300.0))
    (text,) = cpu.problems(world)
    assert "in 26 us, its own in 1.3 us" in text
    world.oversubscribed = True
    assert cpu.problems(world) == ()


def test_env_has_rows_of_both(monkeypatch):
    assert (system._shm().status, system._shm().version) == ("here", "64 MiB of 64 MiB free")
    assert system._quota() == []
    monkeypatch.setattr(machine, "shm_room", lambda: (8 * MIB, 64 * MIB))
    assert (system._shm().status, system._shm().version) == ("wrong", "8 MiB of 64 MiB free")
    monkeypatch.setattr(system.os, "sched_getaffinity", lambda _: {0, 1})
    for quota, status in ((0.5, "wrong"), (2.0, "here")):
        monkeypatch.setattr(machine, "cpu_quota", lambda quota=quota: quota)
        assert (system._quota().status, system._quota().version) == (
            status, f"the time of {quota:g} cores",
        )  # fmt: skip


def test_ranks_measure_what_writing_costs(run_ranks):
    done = run_ranks(2, WORKER)
    assert done.code == 0, done.stderr[-4000:]
    shared, own = done.record()
    assert shared > 0
    assert own > 0
