"""Which engine runs NVRAR's kernel on a device."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from nvrar_bench.backends.nvrar.engine import Engine
from nvrar_bench.devices.base import Device
from nvrar_bench.devices.cpu import CpuDevice
from nvrar_bench.world import World

if TYPE_CHECKING:
    from nvrar_bench.devices.cuda.device import CudaDevice


def engine_for(world: World, device: Device, mapped_nodes: bool = False) -> Engine:
    """Open the engine for the ranks of `world` on `device`; see Tuning for `mapped_nodes`.

    Raises:
        Unavailable: what it needs is missing.
    """
    if isinstance(device, CpuDevice):
        from nvrar_bench.backends.nvrar.cpu import EmulatedEngine, HostEngine

        if world.machines > 1:
            from nvrar_bench.backends.nvrar.hosts import HostsEngine

            return HostsEngine(device)
        return EmulatedEngine(device) if world.virtual_ranks else HostEngine(device)
    from nvrar_bench.backends.nvrar.cuda import LoopbackEngine, NvshmemEngine

    gpu = cast("CudaDevice", device)
    return LoopbackEngine(gpu) if world.virtual_ranks else NvshmemEngine(gpu, mapped_nodes)
