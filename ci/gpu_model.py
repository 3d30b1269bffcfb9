"""What an all-reduce cannot do without: the bytes it moves and the flags it waits for, one by one.

    floor = (a copy that moves as many bytes - an empty kernel)
            + hops x latency of one flag
            + an empty kernel, without its share of two events

The model is docs/protocol.md in numbers, for ranks that share one GPU's memory: what is read and
what is written both count, of all ranks together, and a copy of n bytes moves 2 n. It holds for
messages of one window (up to 2M), symmetric buffers, and numbers of nodes that need no folding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nvrar_bench.backends.nvrar.layout import plan_steps

ONE_WINDOW = 2 << 20  # bytes: the smaller of the two protocols' windows on a GPU


@dataclass(frozen=True)
class Cost:
    """Of one all-reduce: `moved_bytes` by all ranks, read and written; `hops` one after another."""

    moved_bytes: int
    hops: int


def cost(protocol: str, ranks: int, nodes: int, nbytes: int) -> Cost | None:
    """Of a message of `nbytes` bytes per rank; None where the model does not hold."""
    schedule = plan_steps(nodes)
    if schedule.is_folding or nbytes > ONE_WINDOW:
        return None
    group = ranks // nodes
    slices = SLICES[protocol](group, schedule.radices)
    meetings = 2 if group > 1 else 0  # entry and exit; in packets: the scatter and the gather
    return Cost(ranks * slices * nbytes // group, meetings + len(schedule.radices))


def _signal_slices(group: int, radices: tuple[int, ...]) -> int:
    """How many slices one rank reads and writes, by `signal` direct."""
    if not radices:
        return 2 * group  # phase 1: a slice of everybody's input in, the result to everybody
    reduced = group + 1 if group > 1 else 0  # phase 1: the same, into a partial result
    put = sum(2 * (radix - 1) for radix in radices)  # read here, written there
    combined = sum(radices)  # one's own operand, and what arrived
    stored = len(radices) - 1 + group  # a partial result; in the last step all outputs
    return reduced + put + combined + stored


def _packet_slices(group: int, radices: tuple[int, ...]) -> int:
    """As above, by `packet`: what travels does so in cells of twice its bytes."""
    peers = group - 1
    scattered = 3 * peers  # phase 1: the input read, cells written
    reduced = 2 * peers + 1  # cells and one's own input read
    put = sum(2 * (radix - 1) for radix in radices)  # cells written, as soon as there is a result
    combined = sum(2 * (radix - 1) + 1 for radix in radices)  # cells and one's own operand read
    stored = len(radices) if group > 1 else max(0, len(radices) - 1)  # partial results
    delivered = 1 + 2 * peers  # one's own output, and cells to the peers
    gathered = 3 * peers  # phase 3: cells read, the output written
    return scattered + reduced + put + combined + stored + delivered + gathered


SLICES: dict[str, Callable[[int, tuple[int, ...]], int]] = {
    "signal": _signal_slices,
    "packet": _packet_slices,
}


@dataclass(frozen=True)
class Floor:
    """What a GPU was measured to need, by calls of one kind: queued, or in graphs.

    `copies` is (moved bytes, microseconds), ascending. They and the empty kernel hold `event_us`,
    a call's share of the two events around its sample.
    """

    copies: tuple[tuple[int, float], ...]
    one_way_us: float
    empty_kernel_us: float
    event_us: float

    def of(self, needed: Cost | None) -> float | None:
        """The floor in microseconds; None where the model or the measured copies end."""
        copied = None if needed is None else self._copy_us(needed.moved_bytes)
        if needed is None or copied is None:
            return None
        moving = max(0.0, copied - self.empty_kernel_us)
        return moving + needed.hops * self.one_way_us + self.empty_kernel_us - self.event_us

    def _copy_us(self, moved_bytes: int) -> float | None:
        """Time of a copy that moves so many bytes, between two that were measured."""
        for (low, fast), (high, slow) in zip(self.copies, self.copies[1:], strict=False):
            if low <= moved_bytes <= high:
                return fast + (slow - fast) * (moved_bytes - low) / (high - low)
        return None
