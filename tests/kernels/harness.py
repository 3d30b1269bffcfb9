"""What the workers here share: calls whose result is known, with nothing between them.

No MPI function runs between two calls of a batch, so ranks drift apart as far as the kernel lets
them. Each rank looks at its result and at once writes over both buffers, while others may still be
in the call. What it saw is compared with the other ranks after the batch.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from random import Random
from typing import Any

import numpy as np

from nvrar_bench.backends.base import Operation
from nvrar_bench.backends.nvrar import engine_for
from nvrar_bench.backends.nvrar.backend import NvrarBackend
from nvrar_bench.backends.nvrar.tuning import Tuning
from nvrar_bench.datatypes import DTYPES
from nvrar_bench.devices.cpu import CpuDevice
from nvrar_bench.plan import Case
from nvrar_bench.run.as_rank import join_world
from nvrar_bench.verify import (
    CANARY_BYTES,
    Expected,
    KnownReduction,
    canary_intact,
    check,
    poison,
    write_canary,
)
from nvrar_bench.world import World

# More than the two parities of staging memory: leftovers belong to another seed.
SEEDS = 3
TIMEOUT_S = 30.0
_BEFORE = 128  # bytes in front of a buffer, the last of them a canary


@dataclass(frozen=True)
class Shape:
    """One call, as a test asks for it; buffers start `skew` elements behind a cache line."""

    dtype: str
    op: str
    count: int
    protocol: str
    buffers: str
    placement: str
    mode: str = "exact"
    skew: int = 0
    exchange: str = "doubling"

    def case(self) -> Case:
        nbytes = self.count * DTYPES[self.dtype].itemsize
        return Case(
            nbytes, self.count, self.dtype, self.op, self.placement, self.buffers, self.protocol,
            self.mode,
        )  # fmt: skip


class Memory:
    """A block for one buffer: a view of it, and canaries on both sides."""

    def __init__(self, device: CpuDevice, nbytes: int, kind: str) -> None:
        self._bytes = device.memory.allocate(_BEFORE + nbytes + CANARY_BYTES + 256, kind).bytes

    def view(self, shape: Shape) -> tuple[np.ndarray, list[np.ndarray]]:
        row = DTYPES[shape.dtype]
        first = _BEFORE + shape.skew * row.itemsize
        end = first + shape.count * row.itemsize
        around = [self._bytes[first - CANARY_BYTES : first], self._bytes[end : end + CANARY_BYTES]]
        return self._bytes[first:end].view(row.numpy), around


@dataclass
class Call:
    """A prepared call: the operation and its buffers."""

    shape: Shape
    operation: Operation
    send: np.ndarray
    recv: np.ndarray
    around: list[np.ndarray]


def on_machines(world: World, count: int) -> World:
    """The same ranks, which take equal shares of themselves for those of so many machines."""
    if count == 1:
        return world
    machine_of = tuple(rank // (world.size // count) for rank in range(world.size))
    host_comm = world.comm.Split(machine_of[world.rank], world.rank)
    hosts = tuple(f"host{machine}" for machine in machine_of)
    return replace(world, host_comm=host_comm, hosts=hosts, machine_of=machine_of, nodes=count)


@dataclass(eq=False)
class Ranks:
    """The ranks of this worker; `problems` collects what went wrong on this one."""

    nbytes: int  # of the longest buffer
    seed: int = 0
    epoch: int = 1
    lateness: float = 0.0  # how often a rank oversleeps before a call
    machines: int = 1  # that the ranks take this one for
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.world = on_machines(join_world(), self.machines)
        self.device = CpuDevice(self.world, TIMEOUT_S)
        self._memory = {
            (kind, end): Memory(self.device, self.nbytes, kind)
            for kind in ("symmetric", "private")
            for end in ("send", "recv")
        }
        self._lengths: dict[tuple[str, str, str], int] = {}
        self._sleep = Random(self.world.rank)
        self.calls = 0  # made so far

    @cache  # noqa: B019 - lives as long as the worker
    def backend(self, nodes: int) -> NvrarBackend:
        return NvrarBackend(
            self.world.with_nodes(nodes),
            engine_for(self.world, self.device),
            TIMEOUT_S,
            Tuning(first_epoch=self.epoch),
        )

    def reserve(self, shapes: Iterable[Shape]) -> None:
        """Say what is to come: inputs are made as long as the longest; others are prefixes."""
        for shape in shapes:
            key = shape.dtype, shape.op, shape.mode
            self._lengths[key] = max(shape.count, self._lengths.get(key, 0))

    @cache  # noqa: B019 - likewise
    def known(self, key: tuple[str, str, str], number: int) -> tuple[np.ndarray, Expected]:
        """This rank's inputs and everybody's result; rank 0 computes it, MPI brings it."""
        dtype, op, mode = key
        problem = KnownReduction(dtype, op, self.world.size, mode, self.seed * SEEDS + number)
        count, expected = self._lengths[key], None
        if self.world.rank == 0:
            expected = problem.expected(count)
        return problem.inputs(self.world.rank, count), self.world.comm.bcast(expected)

    def prepare(self, nodes: int, shape: Shape) -> Call:
        send, around = self._memory[shape.buffers, "send"].view(shape)
        recv = send
        if shape.placement == "out_of_place":
            recv, more = self._memory[shape.buffers, "recv"].view(shape)
            around = around + more
        backend = self.backend(nodes)
        backend.tuning = replace(backend.tuning, exchange=shape.exchange)
        operation = backend.prepare(shape.case(), send, recv)
        for number in range(SEEDS):
            self.known((shape.dtype, shape.op, shape.mode), number)
        return Call(shape, operation, send, recv, around)

    def run(self, title: str, calls: list[Call]) -> None:
        """Run `calls` back to back; then see that all ranks got the same bits."""
        seen = [self._one(title, call) for call in calls]
        everyone = self.world.comm.allgather(seen)
        for index, of_ranks in enumerate(zip(*everyone, strict=True)):
            if len(set(of_ranks)) > 1:
                self._note(title, calls[index].shape, "ranks hold different bits")

    def _one(self, title: str, call: Call) -> bytes:
        shape = call.shape
        number = self.calls % SEEDS
        self.calls += 1
        inputs, expected = self.known((shape.dtype, shape.op, shape.mode), number)
        inputs = inputs[: shape.count]
        if call.recv is not call.send:
            poison(call.recv)
        np.copyto(call.send, inputs)
        for canary in call.around:
            write_canary(canary)
        if self._sleep.random() < self.lateness:
            time.sleep(self._sleep.random() * 2e-3)
        call.operation.launch()
        received, sent = call.recv.copy(), call.send.copy()
        poison(call.recv)  # both buffers are free now, whatever other ranks are at
        poison(call.send)
        if not all(canary_intact(canary) for canary in call.around):
            self._note(title, shape, "memory around a buffer was written")
        if call.recv is not call.send and sent.tobytes() != inputs.tobytes():
            self._note(title, shape, "the input was written")
        result = check(received, expected, shape.count, self.world.rank)
        if result.wrong:
            self._note(title, shape, f"{result.wrong} wrong, first {result.first_wrong}")
        return hashlib.blake2b(received.tobytes(), digest_size=8).digest()

    def _note(self, title: str, shape: Shape, problem: str) -> None:
        self.problems.append(f"{title}: {shape}: {problem}")

    def report(self, **facts: Any) -> None:
        """On rank 0, print what all ranks found, as JSON."""
        everyone = self.world.comm.allgather(self.problems)
        if self.world.rank == 0:
            problems = [problem for of_rank in everyone for problem in of_rank]
            json.dump({"calls": self.calls, "problems": problems[:20], **facts}, sys.stdout)
