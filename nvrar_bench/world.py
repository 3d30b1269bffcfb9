"""Ranks, nodes and where each rank runs: the only room that knows COMM_WORLD."""

from __future__ import annotations

import hashlib
import os
import pickle
import platform
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from nvrar_bench.errors import NotOneJob, NvrarBenchError, UsageError

if TYPE_CHECKING:  # ranks that torch.distributed started need no MPI
    from mpi4py import MPI

_T = TypeVar("_T")

_OUTCOME_TAG = 1  # of messages from the first rank
_NAMED = 3
_SHORT_NAP_S, _LONG_NAP_S, _NAP_PART = 0.001, 0.05, 1 / 16


@dataclass(frozen=True)
class World:
    """The ranks of a run and the nodes they form.

    A node is a machine, or, with virtual nodes, an equal share of one machine's ranks:
    rank = node * ranks_per_node + local_rank.
    """

    comm: MPI.Comm
    host_comm: MPI.Comm  # the ranks of this machine
    hosts: tuple[str, ...]  # of each rank
    machine_of: tuple[int, ...]  # each rank, counted in the order of their first ranks
    nodes: int
    virtual_nodes: bool
    cores: int  # that the ranks of this machine may run on, together

    @property
    def rank(self) -> int:
        """This process's rank in `comm`."""
        return int(self.comm.rank)

    @property
    def size(self) -> int:
        """Number of ranks that reduce together."""
        return len(self.hosts)

    @property
    def seats(self) -> tuple[int, ...]:
        """The ranks that this process plays: its own, or all where they are virtual."""
        return tuple(range(self.size)) if self.virtual_ranks else (self.rank,)

    @property
    def virtual_ranks(self) -> bool:
        """True if one process plays all ranks."""
        return self.size > self.comm.size

    @property
    def host(self) -> str:
        """Name of the machine that this rank runs on."""
        return self.hosts[self.rank]

    @property
    def ranks_per_node(self) -> int:
        """Ranks of each node; the nodes are equal."""
        return self.size // self.nodes

    @property
    def machines(self) -> int:
        """Number of machines."""
        return len(set(self.machine_of))

    @property
    def node_of(self) -> tuple[int, ...]:
        """The node of every rank."""
        if not self.virtual_nodes:
            return self.machine_of
        return tuple(rank // self.ranks_per_node for rank in range(self.size))

    @property
    def node(self) -> int:
        """The node of this rank."""
        return self.node_of[self.rank]

    @property
    def local_rank(self) -> int:
        """This rank within its node."""
        return self.node_of[: self.rank].count(self.node)

    def elsewhere(self) -> str:
        """Name the first ranks of other machines, in words; empty where there are none."""
        mine = self.machine_of[self.rank]
        others = [rank for rank in range(self.size) if self.machine_of[rank] != mine]
        named = [f"rank {rank} on host {self.hosts[rank]}" for rank in others[:_NAMED]]
        return ", ".join(named) + (f" and {len(others) - _NAMED} more" if others[_NAMED:] else "")

    @property
    def oversubscribed(self) -> bool:
        """True if this machine has more ranks than cores for them."""
        return self.local_ranks > self.cores

    @property
    def local_ranks(self) -> int:
        """Number of ranks on this machine."""
        return self.size if self.virtual_ranks else int(self.host_comm.size)

    def with_nodes(self, nodes: int) -> World:
        """The same ranks as `nodes` virtual nodes.

        UsageError: `nodes` does not divide the ranks, or there is more than one machine.
        """
        if self.size % nodes:
            allowed = ", ".join(str(n) for n in range(1, self.size + 1) if self.size % n == 0)
            raise UsageError(
                f"--nodes {nodes}: {self.size} ranks cannot be split into {nodes} equal nodes; "
                f"allowed here: {allowed}"
            )
        if self.machines > 1 and nodes != self.machines:
            raise UsageError(
                f"--nodes {nodes}: virtual nodes split the ranks of one machine, and this job runs "
                f"on {self.machines}; leave --nodes out to use the real ones"
            )
        return replace(self, nodes=nodes, virtual_nodes=nodes != self.machines)

    def with_virtual_ranks(self, ranks: int) -> World:
        """Let this process, if it is the only one, play `ranks` ranks (UsageError)."""
        if self.comm.size > 1:
            raise UsageError(
                f"--virtual-ranks {ranks}: virtual ranks live in one process, and this job has "
                f"{self.comm.size}; start it without mpirun and without --ranks"
            )
        return replace(self, hosts=self.hosts * ranks, machine_of=self.machine_of * ranks)

    def on_host_leader(self, action: Callable[[], _T]) -> _T:
        """Run `action` on one rank of each machine; give its result, or error, to all there."""
        outcome: _T | NvrarBenchError | None = None
        if self.host_comm.rank == 0:
            try:
                outcome = action()
            except NvrarBenchError as error:
                outcome = error
        outcome = _of_first(self.host_comm, outcome)
        if isinstance(outcome, NvrarBenchError):
            raise outcome
        return outcome

    def after_rank_0(self, value: Any = None) -> Any:
        """Wait, asleep, until rank 0 has come here: it did something alone. Collective.

        All get rank 0's `value`.
        """
        return _of_first(self.comm, value)

    def is_complete_within(self, timeout: float) -> bool:
        """Wait, asleep, for all ranks; return whether all have come within `timeout` seconds."""
        began, barrier = time.monotonic(), self.comm.Ibarrier()
        while not barrier.Test():
            if time.monotonic() - began > timeout:
                return False
            _nap(began)
        return True

    def first_problem(self, problem: str | None) -> str | None:
        """Return the first rank's problem, with where it is unless all have one. Collective.

        All ranks fail alike where one lacks something, so that nobody waits for it.
        """
        problems = self.comm.allgather(problem)
        lacking = [rank for rank, one in enumerate(problems) if one]
        if not lacking:
            return None
        first = lacking[0]
        everywhere = len(lacking) == len(problems)
        where = "" if everywhere else f"rank {first} on {self.hosts[first]}: "
        return f"{where}{problems[first]}"

    def require_agreement(self, facts: dict[str, Any]) -> None:
        """Refuse to run where ranks differ in any of `facts`, and say which ranks and in what.

        Raises:
            UsageError: on every rank.
        """
        mine = {name: hashlib.sha256(pickle.dumps(fact)).digest() for name, fact in facts.items()}
        of_rank_0 = self.comm.bcast(mine)
        differing = [name for name, digest in mine.items() if digest != of_rank_0.get(name)]
        everyone = self.comm.allgather(differing)  # short: each rank gathers this of all
        for name in facts:
            odd = [rank for rank, differs in enumerate(everyone) if name in differs]
            if odd:
                values = self.comm.allgather(str(facts[name]))
                raise UsageError(_disagreement(name, odd, values, self.hosts))


def _of_first(comm: MPI.Comm, value: Any) -> Any:
    """Give all ranks the first one's `value`; the others sleep until it comes. Collective.

    A rank that polls inside MPI takes the core that the first one could use.
    """
    if comm.rank == 0:
        for peer in range(1, comm.size):
            comm.send(value, dest=peer, tag=_OUTCOME_TAG)
        return value
    began = time.monotonic()
    while not comm.iprobe(source=0, tag=_OUTCOME_TAG):
        _nap(began)
    return comm.recv(source=0, tag=_OUTCOME_TAG)


def _nap(began: float) -> None:
    """Sleep for a part of the time since `began`, so that hundreds of sleepers take little."""
    waited = time.monotonic() - began
    time.sleep(min(max(waited * _NAP_PART, _SHORT_NAP_S), _LONG_NAP_S))


def _disagreement(name: str, odd: list[int], values: list[str], hosts: Sequence[str]) -> str:
    shown = ", ".join(f"rank {rank} on {hosts[rank]} has {values[rank]}" for rank in odd[:_NAMED])
    more = f" and {len(odd) - _NAMED} more" if len(odd) > _NAMED else ""
    return (
        f"the ranks disagree on {name}: rank 0 on {hosts[0]} has {values[0]}, {shown}{more}; "
        "start all ranks with one command and one installation"
    )


def join(comm: MPI.Comm | None = None) -> World:
    """Find out who is here; every rank of `comm` (COMM_WORLD if None) must call it.

    UsageError: the machines run different numbers of ranks.
    """
    from mpi4py import MPI

    comm = MPI.COMM_WORLD if comm is None else comm
    return meet(comm, _of_this_machine(comm))


def meet(comm: MPI.Comm, host_comm: MPI.Comm) -> World:
    """Find out who is in `comm`, of which `host_comm` holds the ranks of this machine. Collective.

    UsageError: the machines run different numbers of ranks.
    """
    leader = host_comm.bcast(comm.rank, root=0)
    gathered = comm.allgather((platform.node(), leader))
    leaders = [leader for _, leader in gathered]
    ranks_of = Counter(leaders)
    order = sorted(ranks_of)
    if len(set(ranks_of.values())) > 1:
        counts = ", ".join(f"{gathered[r][0]}: {ranks_of[r]}" for r in order)
        raise UsageError(
            f"every machine must run the same number of ranks; this job has {counts}. Remedy: "
            "mpirun --map-by ppr:N:node, mpiexec -ppn N, srun --ntasks-per-node=N"
        )
    cores = len(cores_of(host_comm))
    hosts = tuple(host for host, _ in gathered)
    machine = {leader: number for number, leader in enumerate(order)}
    machine_of = tuple(machine[leader] for leader in leaders)
    return World(comm, host_comm, hosts, machine_of, len(order), False, cores)


def _of_this_machine(comm: MPI.Comm) -> MPI.Comm:
    """Split off the ranks that share memory with this one. Collective."""
    from mpi4py import MPI

    try:
        return comm.Split_type(MPI.COMM_TYPE_SHARED, key=comm.rank)
    except MPI.Exception as error:
        raise NotOneJob(
            f"MPI cannot tell which ranks share a machine ({error}), on rank {comm.rank} on host "
            f"{platform.node()}. Open MPI does so where two hosts have one name: give each a name "
            "of its own, hostnamectl set-hostname NAME"
        ) from None


def cores_of(host_comm: MPI.Comm) -> set[int]:
    """The cores that the ranks of a machine may run on, together. Collective."""
    return set().union(*host_comm.allgather(os.sched_getaffinity(0)))


def library_version() -> str:
    """The MPI library in one line, such as `Open MPI v5.0.11`."""
    from mpi4py import MPI

    text = MPI.Get_library_version().strip("\0 \n")
    first = text.splitlines()[0].split(",")[0]
    return " ".join(first.replace("MPICH Version:", "MPICH").split())
