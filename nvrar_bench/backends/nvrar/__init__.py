"""NVRAR: hierarchical all-reduce by one kernel. Schedule, memory layout, arguments, backend."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from nvrar_bench.backends.nvrar.engine import Engine
    from nvrar_bench.devices.base import Device
    from nvrar_bench.devices.cuda.device import CudaDevice
    from nvrar_bench.world import World


def engine_for(world: World, device: Device, mapped_nodes: bool = False) -> Engine:
    """Open the engine for the ranks of `world` on `device`; see Tuning for `mapped_nodes`.

    Unavailable: what it needs is missing.
    """
    from nvrar_bench.devices.cpu import CpuDevice

    if isinstance(device, CpuDevice):
        from nvrar_bench.backends.nvrar.cpu import EmulatedEngine, HostEngine, HostsEngine

        if world.machines > 1:
            return HostsEngine(world, device)
        kind = EmulatedEngine if world.virtual_ranks else HostEngine
        return kind(world, device)
    from nvrar_bench.backends.nvrar.cuda import LoopbackEngine, NvshmemEngine

    gpu = cast("CudaDevice", device)
    if world.virtual_ranks:
        return LoopbackEngine(world, gpu)
    return NvshmemEngine(world, gpu, mapped_nodes)
