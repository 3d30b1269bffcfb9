"""NVRAR's kernel on GPUs: one rank on each, or all ranks in one launch on one of them."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import partial

from nvrar_bench.backends.nvrar.engine import Engine, Launch, StagingMemory
from nvrar_bench.backends.nvrar.limits import gpu_limits, packets_up_to
from nvrar_bench.devices.cuda.context import LoadedKernel
from nvrar_bench.devices.cuda.device import CudaDevice
from nvrar_bench.devices.operation import Shape
from nvrar_bench.errors import Unavailable, UsageError
from nvrar_bench.toolchain.kernel import Kernel
from nvrar_bench.toolchain.structs import MAX_VIRTUAL_RANKS, CArguments, CVirtualRanks
from nvrar_bench.world import World

ENTRY = "nvrar_all_reduce"

_ALIGNMENT = 16


def _require_aligned(seats: Sequence[CArguments]) -> None:
    """Refuse buffers that start elsewhere (UsageError): kernels load 16 bytes at a time."""
    for seat in seats:
        for name, address in (("send", seat.send), ("recv", seat.recv)):
            if address % _ALIGNMENT:
                raise UsageError(
                    f"{name} starts at {address:#x}; allowed on cuda: multiples of {_ALIGNMENT}"
                )


class _CudaEngine(Engine):
    device: CudaDevice
    stream_ordered = True
    spin = 4096

    def __init__(self, world: World, device: CudaDevice, share: int, *, share_gpu: bool) -> None:
        """A rank has `share` multiprocessors."""
        super().__init__(world, device)
        self.limits = gpu_limits(share, self.fabric, device.gpu.arch)
        nodes, group = world.nodes, world.ranks_per_node
        self.packets_up_to = packets_up_to(self.limits, self.fabric, nodes, group, share_gpu)

    def _load(self, kernels: Sequence[Kernel]) -> list[LoadedKernel]:
        cubins = self.device.build_all(kernels)
        return [self.device.context.load(cubin, ENTRY) for cubin in cubins]

    def _bound(
        self, kernel: Kernel, arguments: ctypes.Structure, shape: Shape, rows: int = 1
    ) -> Launch:
        """Refuse what would hang or fault, before it is launched; `rows` are of virtual ranks."""
        loaded, grid = self._kernel(kernel), (shape.blocks, rows)
        context, blocks = self.device.context, shape.blocks * max(rows, self.device.ranks_sharing)
        context.require_resident(loaded, blocks, shape.threads)
        return partial(context.launch, loaded, grid, shape.threads, arguments)


class NvshmemEngine(_CudaEngine):
    """The fabric `nvshmem`: one rank on each GPU, on any number of machines.

    Ranks of other virtual nodes are reached by puts, as those of other machines are, unless
    `mapped_nodes`: then by loads and stores, since NVSHMEM maps all of a machine.
    """

    fabric = "nvshmem"
    all_mapped = False

    def __init__(self, world: World, device: CudaDevice, mapped_nodes: bool = False) -> None:
        """Share each GPU's multiprocessors among its ranks; all ranks have as many blocks."""
        share = min(world.comm.allgather(device.gpu.sms // device.ranks_sharing))
        super().__init__(world, device, share, share_gpu=device.ranks_sharing > 1)
        self._puts_between_nodes = world.virtual_nodes and not mapped_nodes

    def _load(self, kernels: Sequence[Kernel]) -> list[LoadedKernel]:
        """Make NVSHMEM known to them, too."""
        heap = self.device.heap
        if heap is None:
            raise Unavailable("NVRAR on cuda needs NVSHMEM's heap, which is not open here")
        loaded = super()._load(kernels)
        for kernel in loaded:
            heap.register_module(int(kernel.library))
        return loaded

    def bind(self, kernel: Kernel, seats: Sequence[CArguments], shape: Shape) -> Launch:
        _require_aligned(seats)
        return self._bound(kernel, seats[0], shape)

    def allocate(self, nbytes: int) -> StagingMemory:
        """Allocate in NVSHMEM's heap; what is to be reached by puts counts as not mapped."""
        memory, world = super().allocate(nbytes), self.world
        if not self._puts_between_nodes:
            return memory
        nodes = zip(memory.peers, world.node_of, strict=True)
        return StagingMemory(
            memory.block, tuple(at if node == world.node else 0 for at, node in nodes)
        )

    def facts(self) -> dict[str, str]:
        """How ranks of other nodes are reached."""
        world = self.world
        if world.nodes == 1:
            return {}
        if not world.virtual_nodes:
            return {"nvrar_between_nodes": "puts, unless NVSHMEM maps the peer"}
        path = "puts" if self._puts_between_nodes else "loads and stores"
        return {"nvrar_between_nodes": path}


class LoopbackEngine(_CudaEngine):
    """The fabric `loopback`: all virtual ranks in one launch on one GPU."""

    fabric = "loopback"
    warnings = ("virtual ranks share one GPU: the kernel's cost without any link",)

    def __init__(self, world: World, device: CudaDevice) -> None:
        """Share the multiprocessors among the ranks, if one launch takes so many (UsageError)."""
        ranks = len(world.seats)
        if ranks > MAX_VIRTUAL_RANKS:
            raise UsageError(f"--virtual-ranks {ranks}: allowed: 1 to {MAX_VIRTUAL_RANKS}")
        super().__init__(world, device, device.gpu.sms // ranks, share_gpu=True)

    def bind(self, kernel: Kernel, seats: Sequence[CArguments], shape: Shape) -> Launch:
        """Bind all ranks' arguments; they go with the launch, whose grid has a row for each."""
        _require_aligned(seats)
        return self._bound(kernel, CVirtualRanks.of(seats), shape, len(seats))
