"""NVRAR's kernel on GPUs: one rank on each, or all ranks in one launch on one of them."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import partial

from nvrar_bench.backends.nvrar.chooser import LaunchConfig
from nvrar_bench.backends.nvrar.engine import Engine, Launch, StagingMemory
from nvrar_bench.backends.nvrar.limits import gpu_limits, packets_up_to
from nvrar_bench.devices.cuda.context import LoadedKernel
from nvrar_bench.devices.cuda.device import CudaDevice
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

    def __init__(self, world: World, device: CudaDevice) -> None:
        super().__init__(world, device)
        self._kernels: dict[Kernel, LoadedKernel] = {}

    def foresee(self, kernels: Sequence[Kernel]) -> None:
        """Compile them on one rank of each machine, and load them."""
        for kernel, cubin in zip(kernels, self.device.build_all(kernels), strict=True):
            self._kernels[kernel] = self.device.context.load(cubin, ENTRY)

    def kernel(self, kernel: Kernel) -> LoadedKernel:
        """Return the loaded kernel, which is built if it was not foreseen."""
        if kernel not in self._kernels:
            self.foresee([kernel])
        return self._kernels[kernel]

    def _bound(
        self, kernel: Kernel, arguments: ctypes.Structure, launch: LaunchConfig, rows: int = 1
    ) -> Launch:
        """Refuse what would hang or fault, before it is launched; `rows` are of virtual ranks."""
        loaded, grid = self.kernel(kernel), (launch.blocks, rows)
        context, blocks = self.device.context, launch.blocks * max(rows, self.device.ranks_sharing)
        context.require_resident(loaded, blocks, launch.threads)
        return partial(context.launch, loaded, grid, launch.threads, arguments)


class NvshmemEngine(_CudaEngine):
    """The fabric `nvshmem`: one rank on each GPU, on any number of machines.

    Ranks of other virtual nodes are reached by puts, as those of other machines are, unless
    `mapped_nodes`: then by loads and stores, since NVSHMEM maps all of a machine.
    """

    fabric = "nvshmem"
    all_mapped = False

    def __init__(self, world: World, device: CudaDevice, mapped_nodes: bool = False) -> None:
        """Share each GPU's multiprocessors among its ranks; all ranks have as many blocks."""
        super().__init__(world, device)
        self._puts_between_nodes = world.virtual_nodes and not mapped_nodes
        share = min(world.comm.allgather(device.gpu.sms // device.ranks_sharing))
        self.limits = gpu_limits(share, self.fabric, device.gpu.arch)
        self.packets_up_to = packets_up_to(
            self.limits,
            self.fabric,
            world.nodes,
            world.ranks_per_node,
            share_gpu=device.ranks_sharing > 1,
        )

    def foresee(self, kernels: Sequence[Kernel]) -> None:
        """Compile, load, and make NVSHMEM known to them."""
        heap = self.device.heap
        if heap is None:
            raise Unavailable("NVRAR on cuda needs NVSHMEM's heap, which is not open here")
        super().foresee(kernels)
        for kernel in kernels:
            heap.register_module(int(self._kernels[kernel].library))

    def bind(self, kernel: Kernel, seats: Sequence[CArguments], launch: LaunchConfig) -> Launch:
        _require_aligned(seats)
        return self._bound(kernel, seats[0], launch)

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
        super().__init__(world, device)
        ranks = len(world.seats)
        if ranks > MAX_VIRTUAL_RANKS:
            raise UsageError(f"--virtual-ranks {ranks}: allowed: 1 to {MAX_VIRTUAL_RANKS}")
        self.limits = gpu_limits(device.gpu.sms // ranks, self.fabric, device.gpu.arch)
        self.packets_up_to = packets_up_to(
            self.limits, self.fabric, world.nodes, world.ranks_per_node, share_gpu=True
        )

    def bind(self, kernel: Kernel, seats: Sequence[CArguments], launch: LaunchConfig) -> Launch:
        """Bind all ranks' arguments; they go with the launch, whose grid has a row for each."""
        _require_aligned(seats)
        ranks = CVirtualRanks()
        for index, arguments in enumerate(seats):
            ranks.rank[index] = arguments
        return self._bound(kernel, ranks, launch, len(seats))
