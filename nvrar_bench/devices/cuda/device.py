"""The CUDA device: which GPU a rank gets, its memory, its kernels over elements, its timer."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from nvrar_bench.devices.base import Device
from nvrar_bench.devices.cpu import polls_before_yield
from nvrar_bench.devices.cuda import driver
from nvrar_bench.devices.cuda.calls import Calls, load_calls
from nvrar_bench.devices.cuda.context import GpuContext
from nvrar_bench.devices.cuda.driver import Gpu, describe, missing
from nvrar_bench.devices.cuda.elements import GpuVerifier
from nvrar_bench.devices.cuda.heap import SymmetricHeap
from nvrar_bench.devices.cuda.memory import GpuMemory
from nvrar_bench.devices.cuda.timing import GpuTimer
from nvrar_bench.devices.cuda.work import Cublas, GpuSequence, GpuWorks, OpenCublas
from nvrar_bench.devices.gate import OpenGate, open_gate
from nvrar_bench.devices.operation import Operation
from nvrar_bench.errors import Unavailable, UsageError
from nvrar_bench.timing.clocks import Clocks
from nvrar_bench.timing.loop import Gate
from nvrar_bench.toolchain import cuda as toolchain
from nvrar_bench.toolchain.host import Source
from nvrar_bench.toolchain.kernel import CUDA_GATE, Elements
from nvrar_bench.toolchain.product import build_missing
from nvrar_bench.world import World, cores_of

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
    gpu = describe(calls, int(world.host_comm.rank) % visible)
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


BuildCubin = Callable[[Source, str], bytes]
BuildMissing = Callable[[Sequence[Source], str, Collection[int], Callable[[int, int], None]], None]


def build_cubin(kernel: Source, arch: str) -> bytes:
    """Compile `kernel` for `arch` with NVRTC, unless the cache holds it."""
    return toolchain.build(kernel, arch).cubin.read_bytes()


def open_cublas(stream: int, workspace: int) -> Cublas:
    """Open cuBLAS, or say what installs it."""
    return Cublas(stream, workspace, driver.install_command(extra="gemm"))


class CudaDevice(Device):
    """The GPU of this process. With virtual ranks, each has a row of every array.

    Constructing it is collective. Every wait is bounded by `timeout` seconds. `heap` is NVSHMEM's,
    None where nobody needs it, or where it does not start: then `heap_problem` says why.
    `timer` and `works` are made only where calls are `timed`. Unavailable where its kernels cannot
    be built.
    """

    name = "cuda"
    memory: GpuMemory
    verifier: GpuVerifier
    timer: GpuTimer
    works: GpuWorks

    def __init__(
        self,
        world: World,
        timeout: float,
        placement: GpuPlacement,
        *,
        heap: SymmetricHeap | None = None,
        heap_problem: str | None = None,
        graph: int = 1,
        cold_cache: bool = False,
        timed: bool = True,
        calls: Calls | None = None,
        build: BuildCubin = build_cubin,
        build_missing: BuildMissing = build_missing,
        open_cublas: OpenCublas = open_cublas,
    ) -> None:
        super().__init__(world, timeout)
        self.gpu, self.heap, self.heap_problem = placement.gpu, heap, heap_problem
        self.ranks_sharing = placement.ranks_sharing
        self._placement, self._build, self._build_missing = placement, build, build_missing
        who = f"rank {world.rank} on {world.host}"
        self.context = GpuContext(calls or load_calls(), self.gpu, who, timeout)
        self.memory = GpuMemory(self.context, len(world.seats), heap, placement.gpus_here)
        self.verifier = GpuVerifier(self.memory, self.build, world.seats)
        self._timed = timed
        if timed:
            cubin = self.build(CUDA_GATE)
            self.timer = GpuTimer(self.memory, cubin, graph, cold_cache)
            self.works = GpuWorks(world, self.memory, cubin, open_cublas)

    def build(self, kernel: Source) -> bytes:
        """The cubin of `kernel` for this GPU, compiled once per machine. Collective."""
        return self.build_all([kernel])[0]

    def build_all(self, kernels: Sequence[Source]) -> list[bytes]:
        """As `build`, for several."""
        arch = self.gpu.arch
        return self.world.on_host_leader(lambda: [self._build(one, arch) for one in kernels])

    def build_ahead(
        self, dtypes: Collection[str], kernels: Sequence[Source], show: Callable[[int, int], None]
    ) -> None:
        """Compile side by side, on one rank of each machine and the cores of all. Collective."""
        sources, arch = [*map(Elements, dtypes), *kernels], self.gpu.arch
        cores = cores_of(self.world.host_comm)
        self.world.on_host_leader(lambda: self._build_missing(sources, arch, cores, show))

    def start_gate(self, mode: str = "auto", clocks: Clocks | None = None) -> Gate:
        if self.world.comm.size == 1:
            return OpenGate()
        return open_gate(self.world, self.timeout, polls_before_yield(self.world), mode, clocks)

    def sequence(self, parts: Sequence[Operation], *, graph: bool = True) -> Operation:
        """One CUDA graph, unless `graph` is off or MPI is among the parts."""
        return GpuSequence(parts, self.context, graph)

    def finish(self, operation: Operation) -> None:
        """Wait until what was enqueued has run, then let the operation say whether it gave up."""
        if not operation.confirm_waits:
            self.context.drain(operation.variant)
        operation.confirm()

    @property
    def processor(self) -> tuple[str, str]:
        return self.gpu.name, self.gpu.arch

    def warnings(self) -> tuple[str, ...]:
        warning = self._placement.warning
        return () if warning is None else (warning,)

    def facts(self) -> dict[str, Any]:
        return {
            **self.gpu.facts(),
            "gpu_shared": bool(self._placement.shared),
            **driver.versions(self.context.calls),
            **self.timer.facts,
            **self.works.facts,
            **({} if self.heap is None else self.heap.facts()),
        }

    def close(self) -> None:
        """Give everything back, the heap too, at the end of a run that went well. Collective."""
        if self._timed:
            self.timer.close()
            self.works.close()
        self.verifier.close()
        self.memory.close()
        if self.heap is not None:
            self.heap.close()
        self.context.close()
