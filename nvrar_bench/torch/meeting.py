"""Ranks that torch.distributed started become a World, without MPI."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import torch.distributed as dist

from nvrar_bench.errors import LostRank, Unavailable, UsageError
from nvrar_bench.world import World, meet

# Ranks wait for the one that compiles, and until then no call's deadline has begun.
_PATIENCE = timedelta(minutes=5)


class Meeting:
    """The ranks of a process group; collective.

    They talk through groups of their own: from CPU to CPU whatever the user's backend, and never
    between the user's messages.

    Attributes:
        world: the ranks, and the machines that they are on.
    """

    def __init__(self, group: dist.ProcessGroup | None, backend: str, device: str) -> None:
        if not dist.is_initialized():
            raise UsageError(
                "there is no process group: start the ranks with torchrun and call "
                "torch.distributed.init_process_group, or give Group an MPI communicator"
            )
        if backend not in ("nvrar", "nccl"):
            raise UsageError(
                f"backend {backend}: torch.distributed started these ranks; allowed: nvrar, nccl. "
                "Or start them with mpirun and give Group an MPI communicator"
            )
        self._groups: list[dist.ProcessGroup] = []
        members = dist.get_process_group_ranks(group or dist.group.WORLD)
        comm = self._open(members)
        machines = comm.allgather(_machine())
        here = [rank for rank, its in zip(members, machines, strict=True) if its == _machine()]
        if len(here) < len(members) and device == "cpu":
            raise Unavailable(
                f"these ranks are on {len(set(machines))} machines, and between machines CPU ranks "
                "use MPI: start them with mpirun and give Group mpi4py's MPI.COMM_WORLD"
            )
        host_comm = comm if len(here) == len(members) else self._open(here)
        self.world: World = meet(cast("Any", comm), cast("Any", host_comm))

    def _open(self, members: list[int]) -> _Messages:
        with _in_our_words():
            group = dist.new_group(members, _PATIENCE, "gloo", use_local_synchronization=True)
        self._groups.append(group)
        return _Messages(group)

    def close(self) -> None:
        """End the groups. Collective."""
        for group in self._groups:
            dist.destroy_process_group(group)


class _Messages:
    """What a World of one machine, or of GPUs, asks of a communicator; by MPI's names."""

    def __init__(self, group: dist.ProcessGroup) -> None:
        self._group = group
        self.rank, self.size = dist.get_rank(group), dist.get_world_size(group)

    def allgather(self, value: Any) -> list[Any]:
        everyone: list[Any] = [None] * self.size
        with _in_our_words():
            dist.all_gather_object(everyone, value, self._group)
        return everyone

    def bcast(self, value: Any, root: int = 0) -> Any:
        return self.allgather(value)[root]

    def Barrier(self) -> None:  # noqa: N802
        self.allgather(None)

    def send(self, value: Any, dest: int, tag: int) -> None:  # noqa: ARG002
        with _in_our_words():
            dist.send_object_list([value], dist.get_global_rank(self._group, dest), self._group)

    def iprobe(self, source: int, tag: int) -> bool:  # noqa: ARG002
        """Who receives sleeps until the message is there, so nobody has to look for it first."""
        return True

    def recv(self, source: int, tag: int) -> Any:  # noqa: ARG002
        box: list[Any] = [None]
        with _in_our_words():
            dist.recv_object_list(box, dist.get_global_rank(self._group, source), self._group)
        return box[0]


@contextmanager
def _in_our_words() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # torch.distributed has no narrower type for a peer that is gone
        raise LostRank(f"a rank of the group did not answer torch.distributed: {error}") from error


def _machine() -> tuple[str, str]:
    """What ranks that share memory have in common."""
    return platform.node(), Path("/proc/sys/kernel/random/boot_id").read_text()
