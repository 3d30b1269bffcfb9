"""The seam: a device is memory, a verifier of what lies there, and a timer of calls.

An array lies in the memory of its device: a NumPy array on the CPU, a `DeviceArray` on a GPU. Its
shape is (count,), or (seats, count) where this process plays several ranks (world.seats). On both,
`array[..., :n]` is the first n elements of each seat.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from nvrar_bench.devices.operation import NativeCall, Operation, SequenceOperation
from nvrar_bench.devices.work import Work, Works
from nvrar_bench.timing.clocks import Clocks
from nvrar_bench.timing.loop import Gate, Timings, Yardstick
from nvrar_bench.toolchain.host import Source
from nvrar_bench.verify import Expected, Findings, KnownReduction
from nvrar_bench.world import World

Array = Any
Prepare = Callable[[], None]


class MemoryBlock(Protocol):
    """Some bytes for each seat, as `Memory.allocate` returned them."""

    @property
    def address(self) -> int:
        """Where those of the first seat start."""

    @property
    def nbytes(self) -> int:
        """How many each seat has."""

    @property
    def symmetric(self) -> bool:
        """Whether peers may reach them."""

    def view(self, first: int, nbytes: int, dtype: np.dtype[Any]) -> Array:
        """Bytes first to first + nbytes as an array of `dtype`."""


B = TypeVar("B", bound=MemoryBlock)


class Memory(ABC, Generic[B]):
    """The memory that this process's ranks take."""

    def __init__(self) -> None:
        self._blocks: list[B] = []  # that are allocated and not yet released

    @abstractmethod
    def allocate(self, nbytes: int, kind: str) -> B:
        """Allocate at least `nbytes` zeroed bytes per seat, `symmetric` or `private`; collective.

        Peers may reach `symmetric` memory. UsageError: there is not so much. Unavailable: there is
        no symmetric memory here.
        """

    @abstractmethod
    def release(self, block: B) -> None:
        """Give a block back; nothing may use it any more. Collective where it is symmetric."""

    @abstractmethod
    def clear(self, block: B) -> None:
        """Fill this process's part with zeros; done on return."""

    @abstractmethod
    def addresses(self, array: Array) -> tuple[int, ...]:
        """Return where the elements of each seat start."""

    def peers(self, array: Array) -> tuple[int, ...] | None:
        """Return where the same array of every rank is mapped here, 0 where it is not.

        None if it does not lie in symmetric memory.
        """
        found = self._symmetric(self.addresses(array)[0], array.shape[-1] * array.itemsize)
        if found is None:
            return None
        block, first = found
        return tuple(start and start + first for start in self._starts(block))

    def at(self, address: int, count: int, dtype: np.dtype[Any]) -> Array:
        """Return the elements at an address, shape (count,), of a block or of somebody else.

        What is in no block is not kept alive.
        """
        nbytes = count * dtype.itemsize
        found = self._symmetric(address, nbytes)
        if found is None:
            return self._elsewhere(address, count, dtype)
        block, first = found
        return block.view(first, nbytes, dtype)

    def _symmetric(self, address: int, nbytes: int) -> tuple[B, int] | None:
        """The symmetric block that holds these bytes of its first seat, and where they begin."""
        for block in self._blocks:
            first = address - block.address
            if block.symmetric and 0 <= first <= block.nbytes - nbytes:
                return block, first
        return None

    @abstractmethod
    def _starts(self, block: B) -> tuple[int, ...]:
        """Where every rank's part of a symmetric block is mapped here, 0 where it is not."""

    @abstractmethod
    def _elsewhere(self, address: int, count: int, dtype: np.dtype[Any]) -> Array:
        """Elements that lie in no symmetric block."""

    @abstractmethod
    def keep(self, values: npt.NDArray[Any]) -> Array:
        """Return host values, shape (count,) or (seats, count), in the device's memory."""

    @abstractmethod
    def write(self, array: Array, values: npt.NDArray[Any]) -> None:
        """Copy host values to an array that `keep` returned, for calls that are launched later."""

    @abstractmethod
    def to_host(self, array: Array, what: str = "") -> npt.NDArray[Any]:
        """A copy in host memory when all that was launched has run, which is `what` in a message.

        TimedOut: it did not run in time.
        """

    @abstractmethod
    def copy(self, target: Array, source: Array) -> None:
        """Copy an array of the same shape and dtype, in order with the calls of operations."""

    @abstractmethod
    def available(self) -> int:
        """Bytes that the ranks of this machine, on this device, can still get."""


class Verifier(ABC):
    """Makes inputs whose result is known, and checks results, by the rules of verify/."""

    @abstractmethod
    def inputs(self, known: KnownReduction, count: int) -> Array:
        """Return what each seat sends, shape (count,) or (seats, count); collective."""

    @abstractmethod
    def expected(self, known: KnownReduction, count: int) -> Expected:
        """Return what every rank must hold, in arrays of this device; collective."""

    @abstractmethod
    def spoil(self, output: Array, around: Sequence[Array] = (), *, poison: bool = True) -> None:
        """Fill `output` with what no exact result is, and the bytes around it with a pattern.

        `around` is empty, or the views of bytes before and behind the output, equally long, in its
        block. Without `poison` the output is left as it is.
        """

    def read(self, output: Array) -> bool:  # noqa: ARG002 - see there
        """Read every byte of `output`, as the program that wanted it does.

        False where that makes no difference to the next call: nothing is read there.
        """
        return False

    @abstractmethod
    def check(self, received: Array, expected: Expected, around: Sequence[Array] = ()) -> Findings:
        """Compare what each seat received with `expected`, as `self.expected` made it.

        And look whether the bytes `around` are still those that `spoil` wrote.
        """


class Timer(ABC):
    """Times calls on this process."""

    @property
    def event_ruler_ns(self) -> tuple[float, float] | None:
        """Resolution and cost per sample, where the device times queued calls itself; ns."""
        return None

    @abstractmethod
    def time_calls(
        self, operation: Operation, prepare: Prepare, gate: Gate, timings: Timings, batch: int = 1
    ) -> None:
        """Fill `timings`, shape (n,), with n samples on this process, in ns.

        Each is of `batch` calls that follow each other, divided by as many. `prepare` renews what a
        call consumes; `gate` then lets all ranks go at once. Both stand outside the timed part.
        """

    @property
    def nothing(self) -> NativeCall | None:
        """A native call in which nothing is done, where native calls are timed."""
        return None

    def batch_for(self, nbytes: int) -> int:  # noqa: ARG002 - for those whose timer costs much
        """Return how many calls a sample of messages of `nbytes` has, unless the user says."""
        return 1


class Device(ABC):
    """Memory and clock of this process's ranks; which nodes they form is the backends' affair."""

    name: ClassVar[str]
    memory: Memory[Any]
    verifier: Verifier
    timer: Timer
    works: Works[Any]
    ranks_sharing: int = 1  # the largest number of ranks that share one of these devices
    heap_problem: str | None = None  # why kernels of other ranks cannot reach symmetric memory

    def __init__(self, world: World, timeout: float) -> None:
        self.world = world
        self.timeout = timeout

    def build_ahead(  # noqa: B027 - for those whose compilers take long
        self, dtypes: Collection[str], kernels: Sequence[Source], show: Callable[[int, int], None]
    ) -> None:
        """Compile what a run on elements of `dtypes` needs here, and `kernels`. Collective.

        `show` gets how many are done, and of how many; never where all are in the cache. One that
        is refused ends it (CompilerError).
        """

    @abstractmethod
    def start_gate(self, mode: str = "auto", clocks: Clocks | None = None) -> Gate:
        """Return a gate that lets all ranks of the run go at once; collective.

        By the `clock` all leave at a time agreed on, by `barrier` when they hear that the last has
        come; `auto` is as devices/gate.py says. Across machines the clock needs `clocks`; without,
        they are related here.
        """

    def yardstick(self, gate: Gate) -> Yardstick | None:  # noqa: ARG002 - for those that have one
        """Return what tells the states of this device apart, through `gate`; collective."""
        return None

    @abstractmethod
    def finish(self, operation: Operation) -> None:
        """Wait until the call just launched is done (TimedOut)."""

    def reserve(self, step_bytes: int) -> None:
        """Say how much the longest step reads, before the first `work` that reads."""
        self.works.reserve(step_bytes)

    def work(self, work: Work) -> Operation:
        """Prepare what each rank does between two all-reduces. Collective.

        What it reads is private memory, taken once and read in turns; `facts` then has it.
        UsageError: memory, time or types that are not to be had. Unavailable: nothing here
        multiplies.
        """
        return self.works.prepare(work)

    def sequence(self, parts: Sequence[Operation], *, graph: bool = True) -> Operation:  # noqa: ARG002
        """Return all parts in order as one operation, which closes them. Collective.

        With `graph`, a device that has graphs launches all as one.
        """
        return SequenceOperation(parts)

    @property
    @abstractmethod
    def processor(self) -> tuple[str, str]:
        """Model and architecture of what this process computes on."""

    def facts(self) -> dict[str, Any]:
        """What a reader of the record needs to know of the device; `environment` of the record."""
        return {}

    def examine(self) -> None:  # noqa: B027 - most devices have nothing to look for
        """Look for what makes figures hard to compare, for `warnings`; collective."""

    def warnings(self) -> tuple[str, ...]:
        """What makes the figures of this device hard to compare; part of every result."""
        return ()

    def close(self) -> None:  # noqa: B027 - most devices hold nothing
        """Give everything back; collective."""
