"""A deterministic backend with its own clock, so that all around it can be tested exactly.

Its result is right and its times are made up: call k of `size` bytes takes

    10 us + size / 10 GB/s, times 1 + (k mod 11) / 100

Work between calls is made up as well: it is not done, and memory is read at 100 GB/s, a float
operation takes 1 ps.

$NVRAR_BENCH_FAKE changes that, for tests: `scale=1.1` makes it slower, `wrong=17` spoils element 17
of every result on the last rank, `hang=5` never returns from call 5.

`nvrar-bench tune --backend fake` searches launches that are made up as well: with `best=4` a call
takes 10 % longer for each power of two that its blocks are away from 4, and `refused=8` refuses 8.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nvrar_bench.backends.base import Array, Operation, Tunable
from nvrar_bench.backends.nvrar.chooser import Chooser, Chosen
from nvrar_bench.backends.nvrar.limits import Limits
from nvrar_bench.devices.base import Device
from nvrar_bench.devices.operation import WorkPart
from nvrar_bench.devices.work import Gemm, Stream, Work
from nvrar_bench.documents.tuning import MadeFor
from nvrar_bench.errors import UsageError
from nvrar_bench.plan import Case
from nvrar_bench.world import World

VARIABLE = "NVRAR_BENCH_FAKE"
BASE_NS = 10_000  # of every call
NS_PER_BYTE = 0.1
WORK_NS_PER_BYTE, WORK_NS_PER_FLOP = 0.01, 0.001
CYCLE = 11  # calls, after which times repeat
_WINDOW_BYTES = {"signal": 1 << 20, "packet": 1 << 20}
_SLICE_PER_BLOCK = {"signal": 64 << 10, "packet": 64 << 10}
# Up to 8 blocks of one thread, chunks of 1K to 4K.
LIMITS = Limits(8, 1, 1, 1 << 10, 4 << 10, _WINDOW_BYTES, _SLICE_PER_BLOCK)


@dataclass
class Script:
    """What $NVRAR_BENCH_FAKE asks for."""

    scale: float = 1.0
    wrong: int = -1
    hang: int = -1
    best: int = 0
    refused: int = 0

    @classmethod
    def read(cls, text: str) -> Script:
        """Parse `name=number,...` (UsageError)."""
        script = cls()
        for item in filter(None, text.split(",")):
            name, _, value = item.partition("=")
            try:
                setattr(script, name, type(getattr(script, name))(value))
            except (AttributeError, ValueError):
                raise UsageError(
                    f"{VARIABLE}={text}: {item!r} is not allowed; allowed: scale=FACTOR, "
                    "wrong=INDEX, hang=CALL, best=BLOCKS, refused=BLOCKS, separated by commas"
                ) from None
        return script


class FakeBackend(Tunable):
    """See the module."""

    name = "fake"
    wraps = True

    def __init__(self, world: World, device: Device, timeout: float) -> None:
        super().__init__(world, device, timeout)
        self.chooser = Chooser(LIMITS, world.ranks_per_node, packets_up_to=0)
        self.made_for = MadeFor(
            device.name, "fake", "fake", world.nodes, world.ranks_per_node, world.virtual_nodes, 1
        )

    def prepare(self, case: Case, send: Array, recv: Array) -> Operation:
        return _FakeOperation(self.world, case, send, recv)

    def prepare_as(self, chosen: Chosen, case: Case, send: Array, recv: Array) -> Operation:
        """Bind the buffers; only the clock knows how it is launched."""
        return _FakeOperation(self.world, case, send, recv, chosen)

    def work(self, work: Work) -> Operation:
        return _FakeWork(work)


class _FakeWork(WorkPart):
    def __init__(self, work: Work) -> None:
        self._takes, self._now = _time_of(work), 0
        self.clock = lambda: self._now

    def launch(self) -> None:
        self._now += self._takes


def _time_of(work: Work) -> int:
    """Nanoseconds."""
    if isinstance(work, Stream):
        return round(work.nbytes * WORK_NS_PER_BYTE)
    if isinstance(work, Gemm):
        return round(2 * sum(m * n * k for m, n, k in work.shapes) * WORK_NS_PER_FLOP)
    return work.nanoseconds


class _FakeOperation(Operation):
    variant = "fake"

    def __init__(
        self, world: World, case: Case, send: Array, recv: Array, chosen: Chosen | None = None
    ) -> None:
        script = Script.read(os.environ.get(VARIABLE, ""))
        if chosen is not None and chosen.shape.blocks == script.refused:
            raise UsageError(f"{script.refused} blocks are more than {VARIABLE} lets run at once")
        self._world, self._case, self._send, self._recv = world, case, send, recv
        self._script, self._slower = script, _slower(script, chosen)
        self.shape = None if chosen is None else chosen.shape
        self._now = 0
        self._calls = 0
        self.clock = lambda: self._now

    def launch(self) -> None:
        if self._calls == self._script.hang and self._world.rank == self._world.size - 1:
            time.sleep(1e6)
        self._recv[:] = self._reduced()
        is_last = self._world.rank == self._world.size - 1
        if is_last and 0 <= self._script.wrong < self._case.count:
            self._recv[self._script.wrong] += 1
        factor = self._slower * (1 + self._calls % CYCLE / 100)
        self._now += round((BASE_NS + self._case.size_bytes * NS_PER_BYTE) * factor)
        self._calls += 1

    def _reduced(self) -> Array:
        """Computed on rank 0 alone: on every rank it would be the square of their number."""
        world, comm = self._world, self._world.comm
        mine, reduced = self._send.view(np.uint8), np.empty_like(self._send)
        result = reduced.view(np.uint8)
        if world.rank > 0:
            comm.Send(mine, 0)
            comm.Recv(result, 0)
            return reduced
        others = range(1, world.size)
        gathered = np.empty((world.size, mine.nbytes), np.uint8)
        gathered[0] = mine
        for request in [comm.Irecv(gathered[rank], rank) for rank in others]:
            request.Wait()
        operands = _widened(gathered.view(reduced.dtype))
        reduced[:] = COMBINE[self._case.op](operands).astype(reduced.dtype)
        for request in [comm.Isend(result, rank) for rank in others]:
            request.Wait()
        return reduced


def _slower(script: Script, chosen: Chosen | None) -> float:
    """How many times as long a call takes that is launched so."""
    if chosen is None or script.best < 1:
        return script.scale
    return script.scale * (1 + abs(math.log2(chosen.shape.blocks / script.best)) / 10)


def _widened(operands: Array) -> Array:
    """Floats as float64, so that 8-bit sums round once; integers as they are, so that they wrap."""
    return operands if operands.dtype.kind in "iu" else operands.astype(np.float64)


def _mean(operands: Array) -> Array:
    total = operands.sum(0, dtype=operands.dtype)
    if operands.dtype.kind == "f":
        return np.asarray(total / len(operands))
    quotient = np.abs(total.astype(object)) // len(operands)
    return np.asarray(quotient * np.sign(total.astype(object)))


COMBINE: dict[str, Callable[[Array], Array]] = {
    "sum": lambda operands: operands.sum(0, dtype=operands.dtype),
    "prod": lambda operands: operands.prod(0, dtype=operands.dtype),
    "min": lambda operands: operands.min(0),
    "max": lambda operands: operands.max(0),
    "avg": _mean,
}
