"""Which rank gets which GPU, and what is said when two get the same."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from fake_driver import FakeDriver

from nvrar_bench.devices.cuda import device
from nvrar_bench.devices.cuda.calls import Calls
from nvrar_bench.devices.cuda.device import (
    SHARING_ENVIRONMENT,
    GpuPlacement,
    RankOnGpu,
    groups_that_share,
    place,
)
from nvrar_bench.errors import Unavailable, UsageError


class Ranks:
    """A communicator on which the other ranks say what the test says."""

    def __init__(self, rank, others):
        self.rank, self._others = rank, others
        self.size = len(others) + 1

    def allgather(self, mine):
        everyone = [other(mine) for other in self._others]
        return [*everyone[: self.rank], mine, *everyone[self.rank :]]


def _on(rank, host, machine, uuid):
    """Another rank: it lacks nothing, and runs on this GPU."""

    def says(mine):
        return RankOnGpu(rank, host, machine, uuid, "Fake GPU") if mine is not None else None

    return says


@pytest.fixture
def world(alone, monkeypatch):
    """`world(gpus, rank, others, machines)`: the world of `rank`, whose host has `gpus` GPUs."""

    def make(gpus, rank=0, others=(), machine_of=None):
        machine_of = machine_of or (0,) * (len(others) + 1)
        monkeypatch.setattr(device, "missing", lambda: None)
        monkeypatch.setattr(device, "load_calls", lambda: Calls(FakeDriver(gpus)))
        for name in SHARING_ENVIRONMENT:
            monkeypatch.delenv(name, raising=False)
        comm = Ranks(rank, list(others))
        hosts = tuple(f"host{machine}" for machine in machine_of)
        here = Ranks(machine_of[:rank].count(machine_of[rank]), [])
        return replace(alone, comm=comm, host_comm=here, hosts=hosts, machine_of=machine_of)

    return make


def _uuid(number):
    byte = f"{number:02x}"
    return f"GPU-{byte * 4}-{byte * 2}-{byte * 2}-{byte * 2}-{byte * 6}"


@pytest.mark.parametrize(("rank", "gpus", "ordinal"), [(0, 1, 0), (3, 4, 3), (3, 1, 0), (5, 4, 1)])
def test_the_ranks_of_a_host_take_its_gpus_in_turn(world, rank, gpus, ordinal):
    others = [_on(before, "host0", 0, f"GPU-{before}") for before in range(rank)]
    assert place(world(gpus, rank, others)).gpu.ordinal == ordinal


def test_every_rank_of_a_host_gets_a_gpu_of_its_own(world):
    placed = place(world(4, rank=1, others=[_on(0, "host0", 0, _uuid(0))]))
    assert placed.gpu.ordinal == 1
    assert placed.shared == ()
    assert placed.warning is None
    assert placed.ranks_sharing == 1
    assert placed.gpus_here == 2


def test_the_second_host_counts_from_its_own_first_rank(world):
    others = [
        _on(0, "host0", 0, "GPU-a"),
        _on(1, "host0", 0, "GPU-b"),
        _on(2, "host1", 1, _uuid(0)),
    ]
    placed = place(world(2, rank=3, others=others, machine_of=(0, 0, 1, 1)))
    assert placed.gpu.ordinal == 1
    assert placed.gpus_here == 2


def test_two_ranks_on_one_gpu_are_refused_with_their_numbers(world):
    one_gpu = world(1, rank=1, others=[_on(0, "host0", 0, _uuid(0))])
    with pytest.raises(UsageError) as refused:
        place(one_gpu)
    said = str(refused.value)
    assert said.startswith(f"ranks 0, 1 on host0 share one GPU, Fake GPU {_uuid(0)}: ")
    assert "--share-gpu" in said
    assert not set(SHARING_ENVIRONMENT) & set(os.environ)


def test_a_refusal_is_the_same_on_ranks_that_share_nothing(world):
    others = [_on(0, "host0", 0, "GPU-a"), _on(1, "host0", 0, "GPU-a")]
    with pytest.raises(UsageError, match="ranks 0, 1 on host0 share one GPU, Fake GPU GPU-a: "):
        place(world(1, rank=2, others=others, machine_of=(0, 0, 1)))


def test_sharing_is_allowed_with_a_warning_and_the_libraries_are_told(world, monkeypatch):
    one_gpu = world(1, rank=1, others=[_on(0, "host0", 0, _uuid(0))])
    for name in SHARING_ENVIRONMENT:
        monkeypatch.setenv(name, "")  # undone after the test
        monkeypatch.delenv(name)
    placed = place(one_gpu, share_gpu=True)
    assert placed.warning.startswith("2 ranks share one GPU: ")
    assert placed.ranks_sharing == 2
    assert placed.gpus_here == 1
    assert {name: os.environ[name] for name in SHARING_ENVIRONMENT} == SHARING_ENVIRONMENT


def test_what_the_user_told_the_libraries_stands(world, monkeypatch):
    one_gpu = world(1, rank=1, others=[_on(0, "host0", 0, _uuid(0))])
    monkeypatch.setenv("NCCL_MULTI_RANK_GPU_ENABLE", "0")
    monkeypatch.setenv("NVSHMEM_DISABLE_NCCL", "1")
    place(one_gpu, share_gpu=True)
    assert os.environ["NCCL_MULTI_RANK_GPU_ENABLE"] == "0"


def test_the_libraries_are_told_nothing_where_nobody_shares(world):
    place(world(2, rank=1, others=[_on(0, "host0", 0, _uuid(0))]), share_gpu=True)
    assert not set(SHARING_ENVIRONMENT) & set(os.environ)


def test_the_same_uuid_on_two_machines_is_no_sharing():
    places = [RankOnGpu(rank, "h", rank, "GPU-a", "A100") for rank in range(2)]
    assert groups_that_share(places) == ()
    assert GpuPlacement(None, (), 1).warning is None


def test_several_shared_gpus_are_counted():
    places = [RankOnGpu(rank, "h", 0, f"GPU-{rank % 2}", "A100") for rank in range(5)]
    shared = groups_that_share(places)
    assert [[one.rank for one in group] for group in shared] == [[0, 2, 4], [1, 3]]
    assert "ranks 0, 2, 4 on h share one GPU, A100 GPU-0 (and likewise 1 more): " in device.refusal(
        shared
    )
    assert GpuPlacement(None, shared, 2).warning.startswith("3 ranks share one GPU")


def test_what_one_rank_lacks_every_rank_says(world, monkeypatch):
    two = world(1, rank=0, others=[lambda mine: "libcuda.so.1 is not found"])
    with pytest.raises(Unavailable, match=r"^rank 1 on host0: libcuda\.so\.1 is not found$"):
        place(two)
    monkeypatch.setattr(device, "missing", lambda: "no wheel")
    with pytest.raises(Unavailable, match=r"^no wheel$"):
        place(replace(two, comm=Ranks(0, [lambda mine: "no wheel"])))
