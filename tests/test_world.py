"""Ranks, nodes and machines."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest
from mpi4py import MPI

from nvrar_bench.documents.record import RankPlace
from nvrar_bench.errors import UsageError
from nvrar_bench.run.facts import topology
from nvrar_bench.world import join, library_version

WORKER = Path(__file__).parent / "worker_world.py"


def test_six_ranks_meet(run_ranks):
    done = run_ranks(6, WORKER)
    assert done.code == 0, done.stderr[-4000:]
    host = socket.gethostname()
    for rank, seen in enumerate(done.record()):
        # As 1, 2, 3 and 6 nodes.
        assert seen["placed"] == [[rank // per, rank % per, per] for per in (6, 3, 2, 1)]
        assert (seen["hosts"], seen["machines"]) == (6, 1)
        ran = 5 if rank == 0 else 0
        assert seen["leader"] == [
            None, {"path": "x"}, "UsageError: no such thing", "CompilerError: none", "last", ran,
        ]  # fmt: skip
        end = "; start all ranks with one command and one installation"
        assert seen["agreement"] == [
            None,
            f"UsageError: the ranks disagree on sizes: rank 0 on {host} has [1, 0], "
            f"rank 5 on {host} has [1, 1]{end}",
            f"UsageError: the ranks disagree on the version: rank 0 on {host} has 1.0, "
            f"rank 1 on {host} has 1.1, rank 2 on {host} has 1.2, rank 3 on {host} has 1.3 "
            f"and 2 more{end}",
        ]


class Ranks:
    """A communicator as rank `rank` sees it, of a job whose ranks are on `hosts`."""

    def __init__(self, hosts: str, rank: int = 0) -> None:
        self.hosts, self.rank, self.size = hosts, rank, len(hosts)

    def Split_type(self, kind: int, key: int) -> Ranks:  # noqa: N802 - MPI's name
        mine = [r for r, host in enumerate(self.hosts) if host == self.hosts[self.rank]]
        part = Ranks(self.hosts[self.rank] * len(mine))
        part.leader, part.rank = mine[0], mine.index(self.rank)
        return part

    def bcast(self, value: int, root: int) -> int:
        return self.leader

    def allgather(self, value: object) -> list[object]:
        if isinstance(value, set):
            return [value]
        return [(host, self.hosts.index(host)) for host in self.hosts]


@pytest.fixture
def four(alone):
    ranks = Ranks("aaaa", rank=2)
    return replace(alone, comm=ranks, host_comm=ranks, hosts=("a",) * 4, machine_of=(0,) * 4)


@pytest.mark.parametrize(
    ("hosts", "machine_of", "rank", "node", "local_rank"),
    [
        ("aaaa", (0, 0, 0, 0), 3, 0, 3),
        ("aabb", (0, 0, 1, 1), 3, 1, 1),
        ("abab", (0, 1, 0, 1), 2, 0, 1),
        ("bbaa", (0, 0, 1, 1), 0, 0, 0),
        ("abba", (0, 1, 1, 0), 3, 0, 1),
    ],
)
def test_machines_are_nodes_however_ranks_are_spread(hosts, machine_of, rank, node, local_rank):
    world = join(Ranks(hosts, rank))
    assert world.machine_of == machine_of
    assert world.machines == world.nodes == len(set(hosts))
    assert (world.node, world.local_rank, world.host) == (node, local_rank, hosts[rank])
    assert world.virtual_nodes is False
    places = topology(world, "cpu").placement
    assert places[rank] == RankPlace(rank, hosts[rank], node, local_rank, "cpu")


def test_machines_with_unequal_numbers_of_ranks_are_refused():
    with pytest.raises(UsageError) as caught:
        join(Ranks("abaca"))
    assert str(caught.value) == (
        "every machine must run the same number of ranks; this job has a: 3, b: 1, c: 1. Remedy: "
        "mpirun --map-by ppr:N:node, mpiexec -ppn N, srun --ntasks-per-node=N"
    )


def test_virtual_nodes_are_equal_shares(four):
    two = four.with_nodes(2)
    assert (two.nodes, two.ranks_per_node, two.node, two.local_rank) == (2, 2, 1, 0)
    assert two.virtual_nodes is True
    assert [(p.node, p.local_rank) for p in topology(two, "cpu").placement] == [
        (0, 0), (0, 1), (1, 0), (1, 1),
    ]  # fmt: skip
    assert four.with_nodes(1) == four


@pytest.mark.parametrize("nodes", [3, 5, 8])
def test_nodes_that_do_not_divide_the_ranks_are_refused(four, nodes):
    with pytest.raises(UsageError) as caught:
        four.with_nodes(nodes)
    assert str(caught.value) == (
        f"--nodes {nodes}: 4 ranks cannot be split into {nodes} equal nodes; allowed here: 1, 2, 4"
    )


def test_virtual_nodes_need_one_machine(four):
    across = replace(four, machine_of=(0, 0, 1, 1), nodes=2)
    assert across.with_nodes(2) == across
    with pytest.raises(UsageError, match=r"^--nodes 4: virtual nodes split the ranks of one mach"):
        across.with_nodes(4)


@pytest.mark.parametrize(("cores", "crowded"), [(1, True), (3, True), (4, False), (64, False)])
def test_more_ranks_than_cores(four, cores, crowded):
    assert replace(four, cores=cores).oversubscribed is crowded


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Open MPI v5.0.11, package: Open MPI x, ident: 5.0.11, Nov 1\0", "Open MPI v5.0.11"),
        ("MPICH Version:      5.0.2\nMPICH Release date: today\n", "MPICH 5.0.2"),
        (
            "Intel(R) MPI Library 2021.19 for Linux* OS\n\0",
            "Intel(R) MPI Library 2021.19 for Linux* OS",
        ),
    ],
)
def test_the_library_in_one_line(monkeypatch, text, line):
    monkeypatch.setattr(MPI, "Get_library_version", lambda: text)
    assert library_version() == line


def test_ranks_of_other_machines_are_named(alone):
    assert alone.elsewhere() == ""
    far = replace(alone, hosts=("a", "b", "b", "c", "d"), machine_of=(0, 1, 1, 2, 3))
    assert far.elsewhere() == "rank 1 on host b, rank 2 on host b, rank 3 on host c and 1 more"
