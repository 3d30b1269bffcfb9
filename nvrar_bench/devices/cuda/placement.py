"""Which rank runs on which GPU: one each, unless the user says that they may share."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from nvrar_bench.devices.cuda.calls import load_calls
from nvrar_bench.devices.cuda.driver import Gpu, describe, missing
from nvrar_bench.errors import Unavailable, UsageError
from nvrar_bench.world import World

# NCCL refuses ranks that share a GPU without a variable (NCCL 2.30 and later). NVSHMEM finds out by
# itself, but then warns that its own collectives cannot use NCCL; the suite uses none of them. For
# these it may also bind one GPU to a multicast object once for each of its ranks (3.4).
SHARING_ENVIRONMENT = {
    "NCCL_MULTI_RANK_GPU_ENABLE": "1",
    "NVSHMEM_DISABLE_NCCL": "1",
    "NVSHMEM_DISABLE_NVLS": "1",
}


@dataclass(frozen=True)
class RankOnGpu:
    """Where one rank is: `machine` counts machines, as World.machine_of does."""

    rank: int
    host: str
    machine: int
    uuid: str
    gpu: str


@dataclass(frozen=True)
class GpuPlacement:
    """The GPU of this rank, and the ranks that any rank of the run shares a GPU with."""

    gpu: Gpu
    shared: tuple[tuple[RankOnGpu, ...], ...]
    gpus_here: int  # that the ranks of this machine use, together

    @property
    def ranks_sharing(self) -> int:
        """The largest number of ranks on one GPU."""
        return max((len(group) for group in self.shared), default=1)

    @property
    def warning(self) -> str | None:
        """What every result must say when ranks share a GPU; the same on every rank."""
        if not self.shared:
            return None
        return (
            f"{self.ranks_sharing} ranks share one GPU: they take turns on it, so this is no "
            "latency of the fabric"
        )


def place(world: World, share_gpu: bool = False) -> GpuPlacement:
    """Give this rank its GPU: the ranks of a machine in turn over its visible GPUs. Collective.

    With `share_gpu`, sets what NCCL and NVSHMEM need for it, so it must come before they start. All
    ranks raise Unavailable where one has no driver or GPU, UsageError where two have one GPU and
    may not.
    """
    problem = world.first_problem(missing())
    if problem:
        raise Unavailable(problem)
    calls = load_calls()
    calls.cuInit(0)
    visible = int(calls.cuDeviceGetCount())  # those that CUDA_VISIBLE_DEVICES leaves
    gpu = describe(calls, ordinal_of(int(world.host_comm.rank), visible))
    mine = RankOnGpu(world.rank, world.host, world.machine_of[world.rank], gpu.uuid, gpu.name)
    everyone = world.comm.allgather(mine)
    shared = groups_that_share(everyone)
    if shared and not share_gpu:
        raise UsageError(refusal(shared))
    if shared:
        for name, value in SHARING_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
    here = {one.uuid for one in everyone if one.machine == mine.machine}
    return GpuPlacement(gpu, shared, len(here))


def ordinal_of(host_rank: int, gpus: int) -> int:
    """The GPU of the `host_rank`-th rank of a machine that sees `gpus` GPUs."""
    return host_rank % gpus


def groups_that_share(places: Sequence[RankOnGpu]) -> tuple[tuple[RankOnGpu, ...], ...]:
    """Ranks that are together on one physical GPU, one group per such GPU."""
    groups: dict[tuple[int, str], list[RankOnGpu]] = {}
    for one in places:
        groups.setdefault((one.machine, one.uuid), []).append(one)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def refusal(shared: Sequence[Sequence[RankOnGpu]]) -> str:
    """Why ranks that share a GPU are not measured, and what to do."""
    first = shared[0]
    more = f" (and likewise {len(shared) - 1} more)" if len(shared) > 1 else ""
    return (
        f"ranks {', '.join(str(one.rank) for one in first)} on {first[0].host} share one GPU, "
        f"{first[0].gpu} {first[0].uuid}{more}: start one rank per GPU, or allow it with "
        "--share-gpu (from Python: share_gpu=True), which shows that results are right but not how "
        "fast they are"
    )
