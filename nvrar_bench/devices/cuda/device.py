"""The CUDA device: one GPU with its memory, its kernels over elements, and its timer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from nvrar_bench.devices.base import Device
from nvrar_bench.devices.cpu import polls_before_yield
from nvrar_bench.devices.cuda import driver
from nvrar_bench.devices.cuda.calls import Calls, load_calls
from nvrar_bench.devices.cuda.context import GpuContext
from nvrar_bench.devices.cuda.elements import GpuVerifier
from nvrar_bench.devices.cuda.heap import SymmetricHeap
from nvrar_bench.devices.cuda.memory import GpuMemory
from nvrar_bench.devices.cuda.placement import GpuPlacement
from nvrar_bench.devices.cuda.timing import GpuTimer
from nvrar_bench.devices.cuda.work import Cublas, GpuSequence, GpuWorks, OpenCublas
from nvrar_bench.devices.gate import OpenGate, open_gate
from nvrar_bench.devices.operation import Operation
from nvrar_bench.timing.clocks import Clocks
from nvrar_bench.timing.loop import Gate
from nvrar_bench.toolchain import cuda as toolchain
from nvrar_bench.toolchain.host import Source
from nvrar_bench.toolchain.kernel import CudaGate, Elements
from nvrar_bench.toolchain.product import build_missing
from nvrar_bench.world import World, cores_of

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
            cubin = self.build(CudaGate())
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
