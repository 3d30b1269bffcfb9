"""All-reduce from Python, by any backend: `nvrar_bench.open`."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, cast

from nvrar_bench.api.all_reduce import AllReduce
from nvrar_bench.api.caller import Caller, HostCaller
from nvrar_bench.backends import require_known
from nvrar_bench.backends.base import Backend
from nvrar_bench.backends.nvrar.limits import MOST_BLOCKS, gpu_limits, staging_bytes
from nvrar_bench.backends.nvrar.tuning import Tuning, table_for
from nvrar_bench.backends.registry import open_backends
from nvrar_bench.devices import require_known as require_known_device
from nvrar_bench.devices.base import Device
from nvrar_bench.devices.cpu import CpuDevice
from nvrar_bench.devices.opening import GpuOptions, open_device
from nvrar_bench.errors import NvrarBenchError, UsageError
from nvrar_bench.plan import Protocol
from nvrar_bench.toolchain.kernel import PROTOCOLS
from nvrar_bench.world import World, join

if TYPE_CHECKING:
    from mpi4py import MPI

    from nvrar_bench.devices.cuda.device import CudaDevice

__all__ = ["AllReduce", "open"]

_HEAP_BYTES = 256 << 20  # of arrays, where nobody says how many


def open(  # noqa: A001 - nvrar_bench.open reads as it should
    name: str,
    comm: MPI.Comm | World,
    device: str = "cpu",
    nodes: int | None = None,
    protocol: Protocol = "auto",
    timeout: float = 60.0,
    tuning: str | Path | None = None,
    *,
    heap_bytes: int = _HEAP_BYTES,
    share_gpu: bool = False,
) -> AllReduce:
    """Open backend `name` (`nvrar`, `nccl`, `mpi`, `fake`) for the ranks of `comm`; collective.

    Args:
        name: a backend.
        comm: its ranks take part; or a World of ranks that met otherwise.
        device: `cpu`; `cuda`, where each rank gets the GPU of its place among the ranks of its
            machine; or `auto`.
        nodes: virtual nodes to split the ranks of one machine into; None for the real ones.
        protocol: NVRAR's: `auto`, `signal` or `packet`.
        timeout: seconds that a call waits for a peer.
        tuning: a table of `nvrar-bench tune`, which `auto` follows; None for the one that
            $NVRAR_BENCH_TUNING names, if it does. Python's warnings say what makes it doubtful.
        heap_bytes: on cuda, bytes per rank for all arrays of `empty`. NVSHMEM takes them when it
            first starts in this process; they grow later only where the driver can map memory
            piece by piece, which is the rule on x86-64.
        share_gpu: several ranks may have one GPU, to try things out; it is slow.

    Raises:
        UsageError: an argument that is not allowed, a table that is none or was made for something
            else, ranks that would share a GPU, or, on cuda, other ranks than those of the first
            backend that this process opened there.
        Unavailable: the backend or device is not there.
    """
    require_known([name])
    require_known_device(device)
    _require_allowed(protocol, nodes, timeout, heap_bytes)
    if tuning is not None and name != "nvrar":
        raise UsageError(f"tuning {tuning}: {name} has no launches to tune; allowed: with nvrar")
    chosen = Tuning(table=table_for(tuning, "tuning") if name == "nvrar" else None)
    world = comm if isinstance(comm, World) else join(comm)
    world = world.with_nodes(nodes) if nodes else world
    options = GpuOptions(
        share=share_gpu,
        heap_bytes=heap_bytes + _staging_bytes(world, chosen),
        heap_required=name == "nvrar",
        nvshmem_stays=True,
        timed=False,
    )
    opened = open_device(world, device, timeout, options)
    backend = _backend_on(opened, name, chosen)
    for text in backend.doubts:
        warnings.warn(text, stacklevel=2)
    return AllReduce(backend, _caller_on(opened), opened.memory, protocol)


def _require_allowed(protocol: str, nodes: int | None, timeout: float, heap_bytes: int) -> None:
    if protocol not in ("auto", *PROTOCOLS):
        raise UsageError(f"protocol {protocol}: allowed: auto, {', '.join(PROTOCOLS)}")
    if nodes is not None and nodes < 1:
        raise UsageError(f"nodes {nodes}: allowed: 1 and more")
    if not 0 < timeout < math.inf:
        raise UsageError(f"timeout {timeout}: allowed: a number of seconds above 0")
    if heap_bytes < 0:
        raise UsageError(f"heap_bytes {heap_bytes}: allowed: 0 and more")


def _backend_on(device: Device, name: str, tuning: Tuning) -> Backend:
    try:
        (backend,), _ = open_backends([name], device.world, device, device.timeout, tuning)
    except NvrarBenchError:
        device.close()
        raise
    return backend


def _staging_bytes(world: World, tuning: Tuning) -> int:
    """What NVRAR's kernels need of the heap on GPUs."""
    limits = gpu_limits(MOST_BLOCKS, "nvshmem", "sm_90")
    schedules = tuning.schedules(world.nodes, world.ranks_per_node)
    return staging_bytes(schedules, world.ranks_per_node, limits, all_mapped=False)


def _caller_on(device: Device) -> Caller:
    if isinstance(device, CpuDevice):
        return HostCaller(device)
    from nvrar_bench.api.gpu import GpuCaller

    return GpuCaller(cast("CudaDevice", device))
