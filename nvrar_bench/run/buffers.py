"""Buffers of a sweep, allocated once per kind and guarded, and inputs whose result is known.

Whether all of it fits into memory is found out before anything is allocated.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from nvrar_bench.backends.nvrar.layout import Schedule
from nvrar_bench.backends.nvrar.limits import MOST_BLOCKS, gpu_limits, staging_bytes
from nvrar_bench.datatypes import DTYPES
from nvrar_bench.devices.base import Array, Device, MemoryBlock
from nvrar_bench.errors import UsageError
from nvrar_bench.plan import Case
from nvrar_bench.run.stages import Stage
from nvrar_bench.units import format_size
from nvrar_bench.verify import CANARY_BYTES, Expected, Findings, KnownReduction

_LINE_BYTES = 64  # canary in front, so that a buffer still starts on a cache line
_BYTE = np.dtype(np.uint8)
# Two sets, used in an order (point_group.py) in which whatever a call may wrongly find left over
# from an earlier one belongs to the other set.
SETS = 2
STAGING_BYTES = 64 << 20  # at most, per rank, over all protocols: it does not grow with the message
_AROUND_BYTES = 64 << 10  # canaries, and what allocators round up
# The largest share of the free memory that a run may take; the rest is MPI's and everybody else's.
SHARE = 0.8


@dataclass(frozen=True, eq=False)
class CaseBuffers:
    """The buffers of one case, shape (count,) or (seats, count); `recv` is `send` in place."""

    device: Device
    send: Array
    recv: Array
    around: tuple[Array, Array]  # canaries before and behind the output

    def restore(self, inputs: Array) -> None:
        """Put the inputs where the call will read them."""
        self.device.memory.copy(self.send, inputs)

    def renew(self, inputs: Array) -> None:
        """Do between two calls what a program does: read the output, write the input anew.

        Caches of peers keep an input that nobody writes, and a call that reads it there looks
        faster than any program sees it. In place the call has consumed its input anyhow.
        """
        if self.device.verifier.read(self.recv) or self.recv is self.send:
            self.restore(inputs)

    def spoil(self) -> None:
        """Poison the output, unless it is the input, and renew the canaries around it."""
        self.device.verifier.spoil(self.recv, self.around, poison=self.recv is not self.send)


class SweepBuffers:
    """Two blocks, for messages of up to `nbytes` bytes."""

    def __init__(self, device: Device, nbytes: int, kind: str) -> None:
        room = _LINE_BYTES + nbytes + CANARY_BYTES
        self._device = device
        self._send: MemoryBlock = device.memory.allocate(room, kind)
        self._recv: MemoryBlock = device.memory.allocate(room, kind)

    def of(self, case: Case) -> CaseBuffers:
        """Views for `case`, with the canaries right before and behind its output."""
        end, dtype = _LINE_BYTES + case.size_bytes, DTYPES[case.dtype].numpy
        output = self._recv.view(_LINE_BYTES, case.size_bytes, dtype)
        is_in_place = case.placement == "in_place"
        return CaseBuffers(
            device=self._device,
            send=output if is_in_place else self._send.view(_LINE_BYTES, case.size_bytes, dtype),
            recv=output,
            around=(
                self._recv.view(_LINE_BYTES - CANARY_BYTES, CANARY_BYTES, _BYTE),
                self._recv.view(end, CANARY_BYTES, _BYTE),
            ),
        )

    def release(self) -> None:
        """Give both blocks back."""
        self._device.memory.release(self._send)
        self._device.memory.release(self._recv)


@dataclass(frozen=True, eq=False)
class KnownCall:
    """The inputs of one call, and everybody's result, in the device's memory."""

    inputs: Array  # shape (count,), or (seats, count)
    expected: Expected | None  # None: nothing is to be checked
    device: Device

    def check(self, received: Array, around: Sequence[Array] = ()) -> Findings:
        """Compare what each seat received, and look around it, unless nothing is to be checked."""
        if self.expected is None:
            return Findings([])
        return self.device.verifier.check(received, self.expected, around)


class KnownInputs:
    """Both sets for the dtype, op and mode at hand, as long as the longest message.

    A shorter message uses a prefix.
    """

    def __init__(
        self, cases: Iterable[Case], device: Device, seed: int, with_results: bool
    ) -> None:
        self._device, self._world, self._seed = device, device.world, seed
        self._with_results = with_results
        self._counts: dict[tuple[str, str, str], int] = {}
        for case in cases:
            key = _key(case)
            self._counts[key] = max(case.count, self._counts.get(key, 0))
        self._at: tuple[str, str, str] | None = None
        self._sets: list[KnownCall] = []

    def of(self, case: Case) -> list[KnownCall]:
        """Both sets, cut to the case's count."""
        if self._at != _key(case):
            self._sets.clear()  # before the next ones are made: memory is bounded
            self._sets = [self._make(case, number) for number in range(SETS)]
            self._at = _key(case)
        return [
            KnownCall(s.inputs[..., : case.count], s.expected, self._device) for s in self._sets
        ]

    def _make(self, case: Case, number: int) -> KnownCall:
        count = self._counts[_key(case)]
        known = KnownReduction(
            case.dtype, case.op, self._world.size, case.check_mode, self._seed * SETS + number
        )
        expected = self._device.verifier.expected(known, count) if self._with_results else None
        return KnownCall(self._device.verifier.inputs(known, count), expected, self._device)


def _key(case: Case) -> tuple[str, str, str]:
    return case.dtype, case.op, case.check_mode


def needed(case: Case, pairs: int = 1) -> int:
    """Bytes per rank: `pairs` of send and recv, two sets of inputs, two of results (tolerance)."""
    result = 2 * 8 * case.count if case.check_mode == "rounding" else case.size_bytes
    return (2 * pairs + 2) * case.size_bytes + 2 * result


def symmetric_bytes(
    todo: Iterable[Stage], schedules_of: Callable[[int, int], Collection[Schedule]]
) -> int:
    """Bytes of memory per rank that peers must reach on GPUs: send, recv and staging.

    `schedules_of` says which ones calls may have on so many nodes of so many ranks.
    """
    needs = []
    limits = gpu_limits(MOST_BLOCKS, "nvshmem", "sm_90")
    for stage in todo:
        group = stage.world.ranks_per_node
        schedules = schedules_of(stage.world.nodes, group)
        staging = staging_bytes(schedules, group, limits, all_mapped=False)
        largest = max(case.size_bytes for case in stage.sweep.plan)
        needs.append(2 * stage.pairs * (largest + _AROUND_BYTES) + staging)
    return max(needs)


def _gib(nbytes: int) -> str:
    return f"{nbytes / 2**30:.2f}G"


def require_enough(
    plans: Iterable[Iterable[Case]],
    device: Device,
    staging: int = STAGING_BYTES,
    pairs: int = 1,
) -> None:
    """Refuse what this machine's devices cannot hold (UsageError); collective over its ranks.

    `staging`: what a rank needs beside its buffers, of which each case has `pairs`.
    """
    largest = max((case for plan in plans for case in plan), key=needed)
    per_rank = needed(largest, pairs) + staging
    world = device.world
    ranks = world.local_ranks
    option = "--max or --sizes" if pairs == 1 else "--batch"

    def look() -> None:
        free = int(device.memory.available() * SHARE)
        if per_rank * ranks > free:
            item = DTYPES[largest.dtype].itemsize
            # What a message needs grows with its size.
            fitting = (free // ranks - staging) * largest.size_bytes // needed(largest, pairs)
            fitting = max(item, fitting // item * item)
            raise UsageError(
                f"size {format_size(largest.size_bytes)} ({option}) does not fit: "
                f"{ranks} ranks on {world.host} need {_gib(per_rank)} each and {_gib(free)} of "
                f"memory may be used; allowed: up to about {_gib(fitting)}"
            )

    world.on_host_leader(look)
