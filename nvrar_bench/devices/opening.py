"""Opening the device that a run asks for: the CPU, or the GPU of each rank."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from nvrar_bench.devices import unavailable
from nvrar_bench.devices.base import Device
from nvrar_bench.devices.cpu import CpuDevice
from nvrar_bench.devices.cuda import driver
from nvrar_bench.devices.cuda.calls import load_calls, mps_problem
from nvrar_bench.errors import Unavailable, UsageError
from nvrar_bench.world import World


@dataclass(frozen=True)
class GpuOptions:
    """How GPUs are used."""

    share: bool = False  # several ranks may run on one
    graph: int = 1  # calls captured in one CUDA graph; 1: none are
    cold_cache: bool = False  # caches are flushed before each sample, on CPU ranks as well
    heap_bytes: int | None = None  # symmetric memory that a rank needs; None: nobody needs any
    heap_required: bool = False  # a backend that needs it was asked for by name
    symmetric: bool = False  # buffers are to lie in it, whatever the backends
    mapped_nodes: bool = False  # NVRAR reaches other virtual nodes by loads and stores
    nvshmem_stays: bool = False  # it does not end with the device: it starts once in a process
    timed: bool = True  # calls are

    def require_none(self) -> None:
        """Refuse, on CPU ranks, what only GPUs have (UsageError)."""
        given = {
            f"--graph {self.graph}": self.graph > 1,
            "--share-gpu": self.share,
            "--mapped-nodes": self.mapped_nodes,
        }
        for option, is_given in given.items():
            if is_given:
                raise UsageError(
                    f"{option}: this run is on the cpu device, and only cuda has it; leave it out, "
                    "or ask for --device cuda to see what that lacks here"
                )


def choose(world: World, name: str) -> str:
    """Return `cpu` or `cuda`; `auto` is cuda where every rank has a driver and a GPU. Collective.

    Unavailable where cuda was asked for by name and some rank lacks something, or where all have it
    and the server of MPS is in fault.
    """
    if name == "cpu":
        return name
    missing = world.first_problem(driver.missing())
    if missing and name == "auto":
        return "cpu"
    problem = missing or world.first_problem(mps_problem(load_calls()))
    if problem:
        raise unavailable("cuda", problem)
    return "cuda"


def open_device(world: World, name: str, timeout: float, options: GpuOptions) -> Device:
    """Open device `name` (`cpu`, `cuda`, `auto`) for the ranks of `world`. Collective.

    All ranks raise Unavailable where it is not there, UsageError where ranks would share a GPU and
    may not, or for an option of GPUs on CPU ranks.
    """
    if choose(world, name) == "cpu":
        options.require_none()
        return CpuDevice(world, timeout, cold_cache=options.cold_cache)
    return _open_cuda(world, timeout, options)


def _open_cuda(world: World, timeout: float, options: GpuOptions) -> Device:
    # Not at the head: ranks on CPUs, however many, would wait for these to load.
    from nvrar_bench.devices.cuda.device import CudaDevice, place
    from nvrar_bench.devices.cuda.heap import SymmetricHeap

    placement = place(world, options.share)
    heap, problem = None, None
    if options.heap_bytes is not None and not world.virtual_ranks:
        try:
            heap = SymmetricHeap(
                world, placement.gpu.ordinal, options.heap_bytes, stays=options.nvshmem_stays
            )
        except Unavailable as error:
            if options.heap_required:
                raise
            if options.symmetric:
                raise Unavailable(
                    f"symmetric buffers on cuda lie in NVSHMEM's heap: {error}; or do without: "
                    "--buffers private"
                ) from error
            problem = str(error)
    device = partial(CudaDevice, world, timeout, placement, heap=heap, heap_problem=problem)
    return device(graph=options.graph, cold_cache=options.cold_cache, timed=options.timed)
