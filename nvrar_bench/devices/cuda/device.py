"""The CUDA device: what the session asks of a device, made of the files beside this one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nvrar_bench.devices.base import Device
from nvrar_bench.devices.cpu import CpuDevice
from nvrar_bench.devices.cuda import driver
from nvrar_bench.devices.cuda.array import DeviceArray
from nvrar_bench.devices.cuda.calls import Calls, load_calls
from nvrar_bench.devices.cuda.context import GpuContext, LoadedKernel
from nvrar_bench.devices.cuda.elements import ElementKernels, ProblemMaker, Verifier
from nvrar_bench.devices.cuda.memory import Block, GpuMemory, Heap
from nvrar_bench.devices.cuda.placement import GpuPlacement
from nvrar_bench.devices.cuda.timing import Timer
from nvrar_bench.devices.gate import OpenGate
from nvrar_bench.devices.operation import Operation
from nvrar_bench.errors import Unavailable
from nvrar_bench.timing.clocks import Clocks
from nvrar_bench.timing.loop import Gate, Timings
from nvrar_bench.toolchain import cuda as toolchain
from nvrar_bench.toolchain.host import Source
from nvrar_bench.toolchain.kernel import CudaGate, Elements
from nvrar_bench.toolchain.product import build_missing
from nvrar_bench.verify import Expected, Findings, Problem
from nvrar_bench.world import World, cores_of

Build = Callable[[Source, str], bytes]
BuildMissing = Callable[[Sequence[Source], str, Collection[int], Callable[[int, int], None]], None]


def build_cubin(kernel: Source, arch: str) -> bytes:
    """Compile `kernel` for `arch` with NVRTC, unless the cache holds it."""
    return toolchain.build(kernel, arch).cubin.read_bytes()


class CudaDevice(Device):
    """The GPU of this process. With virtual ranks, each has a row of every array.

    Constructing it is collective. Every wait is bounded by `timeout` seconds.

    Raises:
        Unavailable: the kernels of the device cannot be built.
        CudaError: the driver refused something.
    """

    name = "cuda"

    def __init__(
        self,
        world: World,
        timeout: float,
        placement: GpuPlacement,
        *,
        heap: Heap | None = None,
        graph: int = 1,
        cold_cache: bool = False,
        calls: Calls | None = None,
        build: Build = build_cubin,
        build_missing: BuildMissing = build_missing,
    ) -> None:
        super().__init__(world, timeout)
        self.placement, self.gpu, self._build = placement, placement.gpu, build
        self._heap, self._build_missing = heap, build_missing
        who = f"rank {world.rank} on {world.host}"
        self._registered: set[int] = set()
        self.context = GpuContext(calls or load_calls(), self.gpu, who, timeout)
        self.memory = GpuMemory(self.context, len(world.seats), heap)
        elements = ElementKernels(self.context, self.build)
        self._verifier = Verifier(self.memory, elements, len(world.seats))
        self._maker = ProblemMaker(self.memory, elements)
        self._timer = Timer(self.context, self.memory, self.build(CudaGate()), graph, cold_cache)

    @property
    def calls(self) -> Calls:
        """The functions of the CUDA driver."""
        return self.context.calls

    @property
    def ordinal(self) -> int:
        """The GPU's number among those that this process sees."""
        return self.gpu.ordinal

    @property
    def arch(self) -> str:
        """What kernels are compiled for, such as `sm_90`."""
        return self.gpu.arch

    @property
    def stream_handle(self) -> int:
        """The stream as an address (cudaStream_t)."""
        return self.context.stream_handle

    def allocate(self, nbytes: int, kind: str) -> Block:
        """Allocate zeroed bytes, `symmetric` or `private`; see GpuMemory.allocate. Collective."""
        return self.memory.allocate(nbytes, kind)

    def release(self, block: Block) -> None:
        """Give a block back. Collective where it is symmetric."""
        self.memory.release(block)

    def clear(self, block: Block) -> None:
        """Fill a block with zeros, and wait for it."""
        self.memory.clear(block)

    def view(self, block: Block, first: int, nbytes: int, dtype: npt.DTypeLike) -> DeviceArray:
        """Bytes [first, first + nbytes) of every row of a block, as elements."""
        kind = np.dtype(dtype)
        address, count = block.address + first, nbytes // kind.itemsize
        return DeviceArray(address, count, kind, block.rows, block.pitch, block)

    def prefix(self, array: DeviceArray, count: int) -> DeviceArray:
        """The first `count` elements of every row."""
        return array[:count]

    def addresses(self, array: DeviceArray) -> tuple[int, ...]:
        """Device pointers of the rows."""
        return tuple(array.row(row) for row in range(array.rows))

    def peer_addresses(self, array: DeviceArray) -> tuple[int, ...] | None:
        """Where every rank's array is mapped here; None if it is in private memory."""
        return self.memory.peers(array)

    def keep(self, values: npt.NDArray[Any]) -> DeviceArray:
        """Copy host values, shape (count,) or (rows, count), to memory that the array owns."""
        return self.memory.keep(values)

    def to_host(
        self, array: DeviceArray, what: str = "what runs before a copy to the host"
    ) -> npt.NDArray[Any]:
        """A copy in host memory when all before it has run; see GpuMemory.to_host."""
        return self.memory.to_host(array, what)

    def copy(self, target: DeviceArray, source: DeviceArray) -> None:
        """Copy on the GPU, in stream order; the shapes are equal."""
        self.memory.copy(target, source)

    def inputs(self, problem: Problem, count: int) -> DeviceArray:
        """Make, on the GPU, what each seat sends; in stream order. Collective."""
        return self._maker.inputs(problem, self.world.seats, count)

    def expected(self, problem: Problem, count: int) -> Expected:
        """Make, on the GPU, what every rank must hold; in stream order. Collective."""
        return self._maker.expected(problem, count)

    def spoil(
        self, output: DeviceArray, around: Sequence[DeviceArray] = (), *, poison: bool = True
    ) -> None:
        """Fill with what no exact result is, and the bytes around, in stream order."""
        self._verifier.spoil(output, around, poison)

    def check(
        self, received: DeviceArray, expected: Expected, around: Sequence[DeviceArray] = ()
    ) -> Findings:
        """Compare on the GPU; `expected` holds arrays that `keep` returned."""
        return self._verifier.check(received, expected, around, self.world.seats)

    def build(self, kernel: Source) -> bytes:
        """The cubin of `kernel` for this GPU, compiled once per machine. Collective."""
        return self.world.on_host_leader(lambda: self._build(kernel, self.arch))

    def build_ahead(
        self, dtypes: Collection[str], kernels: Sequence[Source], told: Callable[[int, int], None]
    ) -> None:
        """Compile side by side, on one rank of each machine and the cores of all. Collective."""
        sources = [*map(Elements, dtypes), *kernels]
        cores = cores_of(self.world.host_comm)
        self.world.on_host_leader(lambda: self._build_missing(sources, self.arch, cores, told))

    def build_all(self, kernels: Sequence[Source]) -> list[bytes]:
        """As `build`, for several."""
        return self.world.on_host_leader(lambda: [self._build(one, self.arch) for one in kernels])

    def load(self, cubin: bytes, entry: str) -> LoadedKernel:
        """Load a kernel now, not at its first launch."""
        return self.context.load(cubin, entry)

    def register_with_heap(self, kernel: LoadedKernel) -> None:
        """Let a kernel that is linked with NVSHMEM use the heap, before its first launch.

        Raises:
            Unavailable: there is no heap.
        """
        if self._heap is None:
            raise Unavailable(f"{kernel.name} needs NVSHMEM's heap, which is not open here")
        if int(kernel.library) not in self._registered:
            self._heap.register_module(int(kernel.library))
            self._registered.add(int(kernel.library))

    def launch(
        self,
        kernel: LoadedKernel,
        grid: int | tuple[int, int],
        block: int,
        *arguments: Any,
        cooperative: bool = False,
    ) -> None:
        """Enqueue `kernel`; see GpuContext.launch."""
        self.context.launch(kernel, grid, block, *arguments, cooperative=cooperative)

    def require_resident(self, kernel: LoadedKernel, blocks: int, threads: int) -> None:
        """Refuse a grid that the GPU does not run all at once; UsageError names both numbers."""
        self.context.require_resident(kernel, blocks, threads)

    def start_gate(self, mode: str = "auto", clocks: Clocks | None = None) -> Gate:
        """A gate that lets all ranks of the run go at once, on the host. Collective."""
        if self.world.comm.size == 1:
            return OpenGate()
        return CpuDevice(self.world, self.timeout).start_gate(mode, clocks)

    @property
    def event_ruler_ns(self) -> tuple[float, float] | None:
        """Of the events."""
        return self._timer.ruler_ns

    def drain(self, what: str) -> None:
        """Wait until all that was enqueued has run; TimedOut says that it did not, and `what`."""
        self.context.drain(what)

    def finish(self, operation: Operation) -> None:
        """Wait until what was enqueued has run, then let the operation say whether it gave up.

        Raises:
            TimedOut: it did not end in time, or gave up.
        """
        if not operation.confirm_waits:
            self.context.drain(operation.variant)
        operation.confirm()

    def time_calls(
        self, operation: Operation, prepare: Callable[[], None], gate: Gate, timings: Timings,
        batch: int = 1,
    ) -> None:  # fmt: skip
        """Fill `timings` with batches, in nanoseconds per call; see timing.py."""
        self._timer.time_calls(operation, prepare, gate, timings, batch)

    def batch_for(self, nbytes: int) -> int:
        """Calls of a sample; see timing.py."""
        return self._timer.batch_for(nbytes)

    def available_memory(self) -> int:
        """What this GPU has free, for each GPU that ranks of this machine use."""
        return self.memory.free() * self.placement.gpus_here

    @property
    def processor(self) -> tuple[str, str]:
        """The GPU's name and architecture."""
        return self.gpu.name, self.gpu.arch

    @property
    def ranks_sharing(self) -> int:
        """The largest number of ranks that share a GPU."""
        return self.placement.ranks_sharing

    def warnings(self) -> tuple[str, ...]:
        """That ranks share a GPU."""
        warning = self.placement.warning
        return () if warning is None else (warning,)

    def facts(self) -> dict[str, Any]:
        """What a reader needs to judge a number that was measured here."""
        return {
            **self.gpu.facts(),
            "gpu_shared": bool(self.placement.shared),
            **driver.versions(self.calls),
            **self._timer.facts,
            **({} if self._heap is None else self._heap.facts()),
        }

    def close(self) -> None:
        """Give everything back, the heap too, at the end of a run that went well. Collective."""
        self._timer.close()
        self._verifier.close()
        self._maker.close()
        self.memory.close()
        if self._heap is not None:
            self._heap.close()
        self.context.close()
