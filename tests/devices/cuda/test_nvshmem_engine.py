"""NVRAR over NVSHMEM: which ranks its kernel finds mapped, and so reaches by loads and stores."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest

from nvrar_bench.backends.nvrar import engine_for
from nvrar_bench.backends.nvrar.backend import require_mapped
from nvrar_bench.backends.nvrar.cuda import NvshmemEngine
from nvrar_bench.devices.operation import Shape
from nvrar_bench.errors import Unavailable
from nvrar_bench.toolchain.kernel import Kernel
from nvrar_bench.toolchain.structs import CArguments

RANKS, RANK = 6, 3
MAPPED = tuple(range(0x1000, 0x1000 * (RANKS + 1), 0x1000))


class Comm:
    """Of rank 3 of six processes."""

    size, rank = RANKS, RANK

    def allgather(self, mine):
        return [mine] * RANKS


class Device:
    """Symmetric memory that all ranks of a machine map; `peers` says where."""

    ranks_sharing, gpu = RANKS, SimpleNamespace(sms=132, arch="sm_90")

    def __init__(self, peers=MAPPED):
        self.memory = SimpleNamespace(allocate=Block, peers=lambda view: peers)
        self.context = SimpleNamespace()


@dataclass(frozen=True)
class Block:
    nbytes: int
    kind: str

    def view(self, first, nbytes, dtype):
        return first, nbytes


def test_ranks_that_share_a_gpu_all_have_to_run_at_once(engine, monkeypatch):
    made, asked = engine(1), []
    monkeypatch.setattr(made, "_kernel", lambda _: "kernel")
    made.device.context = SimpleNamespace(
        require_resident=lambda *what: asked.append(what), launch=print
    )
    seat = CArguments(send=4096, recv=8192)
    made.bind(
        Kernel("float32", "sum", "signal", "nvshmem", 512), [seat], Shape("signal", 44, 256, 0, 2)
    )
    assert asked == [("kernel", RANKS * 44, 256)]
    assert (made.limits.blocks, made.limits.max_blocks, made.limits.max_threads) == (22, 44, 512)


@pytest.fixture
def engine(alone):
    """`engine(nodes=2)`: of rank 3 of 6 on one machine."""
    one = replace(alone, comm=Comm(), hosts=alone.hosts * RANKS, machine_of=(0,) * RANKS)

    def open_it(nodes: int, mapped_nodes: bool = False) -> NvshmemEngine:
        world = one if nodes == 1 else one.with_nodes(nodes)
        return engine_for(world, Device(), mapped_nodes)

    return open_it


@pytest.mark.parametrize(
    ("nodes", "own"), [(1, {0, 1, 2, 3, 4, 5}), (2, {3, 4, 5}), (3, {2, 3}), (6, {3})]
)
def test_ranks_of_other_virtual_nodes_are_not_mapped(engine, nodes, own):
    memory = engine(nodes).allocate(4096)
    assert memory.peers == tuple(at if r in own else 0 for r, at in enumerate(MAPPED))
    assert memory.block == Block(4096, "symmetric")
    require_mapped(engine(nodes).world, memory.peers)


@pytest.mark.parametrize("nodes", [1, 2, 6])
def test_with_mapped_nodes_all_are(engine, nodes):
    assert engine(nodes, mapped_nodes=True).allocate(4096).peers == MAPPED


def test_machines_are_mapped_as_nvshmem_maps_them(alone):
    """By NVLink between them, they may be."""
    machines = (0, 0, 0, 1, 1, 1)
    world = replace(alone, comm=Comm(), hosts=("a",) * 3 + ("b",) * 3, machine_of=machines, nodes=2)
    some = (0, 0, *MAPPED[2:])
    made = engine_for(world, Device(some))
    assert made.allocate(64).peers == some
    assert made.facts() == {"nvrar_between_nodes": "puts, unless NVSHMEM maps the peer"}


def test_the_record_says_by_which_path(engine):
    assert engine(1).facts() == {}
    assert engine(2).facts() == {"nvrar_between_nodes": "puts"}
    assert engine(2, mapped_nodes=True).facts() == {"nvrar_between_nodes": "loads and stores"}


def test_without_a_heap_no_kernel_is_built(engine):
    made = engine(1)
    made.device.heap = None
    with pytest.raises(Unavailable, match="needs NVSHMEM's heap, which is not open here"):
        made.foresee([Kernel("float32", "sum", "signal", "nvshmem", 512)])
