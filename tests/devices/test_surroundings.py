"""What makes MPI slow on a machine: seen, and told with what to do."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from nvrar_bench.devices import machine, surroundings
from nvrar_bench.inventory import system

WORKER = Path(__file__).parent / "worker_surroundings.py"
MIB = 1 << 20


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
    monkeypatch.setattr(surroundings, "library_version", lambda: "Open MPI v5.0.11")
    monkeypatch.setattr(surroundings, "write_costs", lambda _: (5000.0, 1000.0))


def test_nothing_is_said_of_a_machine_on_which_nothing_is_wrong(world):
    assert surroundings.problems(world) == ()


def test_a_shm_without_room_is_told_where_open_mpi_needs_it(world, monkeypatch):
    monkeypatch.setattr(machine, "shm_room", lambda: (8 * MIB, 64 * MIB))
    (text,) = surroundings.problems(world)
    assert text.startswith("vm: /dev/shm has 8 MiB free, and Open MPI needs 16 MiB")
    assert "--shm-size" in text
    monkeypatch.setattr(surroundings, "library_version", lambda: "MPICH 5.0.2")
    assert surroundings.problems(world) == ()


def test_no_shm_at_all(monkeypatch):
    def none():
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(machine, "shm_room", none)
    assert "there is no /dev/shm" in machine.shm_problem()
    assert system._shm().status == "missing"


@pytest.mark.parametrize(("quota", "told"), [(None, False), (2.0, False), (1.5, True)])
def test_a_quota_below_the_ranks_is_told(world, monkeypatch, quota, told):
    monkeypatch.setattr(machine, "cpu_quota", lambda: quota)
    texts = surroundings.problems(world)
    assert bool(texts) is told
    assert all("2 ranks" in text and "1.5 cores" in text and "--cpus" in text for text in texts)


def test_cores_that_are_far_apart_are_told_once(world, monkeypatch):
    monkeypatch.setattr(surroundings, "write_costs", lambda _: (26_000.0, 1300.0))
    (text,) = surroundings.problems(world)
    assert "in 26 us, its own in 1.3 us" in text
    world.oversubscribed = True
    assert surroundings.problems(world) == ()


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
