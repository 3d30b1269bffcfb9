"""What the kernel is given of nodes and messages: steps between nodes, windows, staging memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

from nvrar_bench.toolchain.kernel import DOUBLING, HALVING, ONE_SHOT
from nvrar_bench.toolchain.structs import MAX_STEPS, CLayout, CStep

SLICE_ALIGNMENT = 16  # bytes: no element is split, and vectors are whole
PARITIES = 2  # two suffice: docs/protocol.md
LARGEST_WINDOW = 1 << 30  # bytes: the kernel counts within a window in 32 bits
LINE_BYTES = 64
PAGE_BYTES = 4096
PACKET_EXPANSION = 2  # 4 bytes of data and 4 of flag
EMPTY_UNIT_BYTES = 32  # four cells, of each block, behind a region of packets
LARGEST_RADIX = 7  # of a prime step: a larger prime folds nodes in rather than widen a step so far


@dataclass(frozen=True)
class Schedule:
    """Steps between nodes: `radices[s]` nodes exchange in step s.

    The first `core_nodes` = prod(radices) nodes run the steps; every further node is folded into
    one of them before, and gets the result back after. In `halving` a node reduces parts of its
    slice in the steps, and gathers the others in as many more. One-shot takes each rank of one
    node for a node of its own, whose slice is the whole message.
    """

    nodes: int
    radices: tuple[int, ...]
    exchange: str = DOUBLING
    is_one_shot: bool = False

    @property
    def core_nodes(self) -> int:
        """Nodes that run the steps."""
        return prod(self.radices)

    @property
    def is_folding(self) -> bool:
        """True if there are nodes beyond the core."""
        return self.core_nodes < self.nodes

    @property
    def slots(self) -> int:
        """Receive slots of one node over all steps."""
        return sum(radix - 1 for radix in self.radices)

    @property
    def arrivals(self) -> int:
        """What may arrive at a node: in its slots, of a fold, and finished parts in halving."""
        return self.slots + 2 + (self.slots if self.exchange == HALVING else 0)

    @property
    def parts(self) -> int:
        """Into how many a chunk is cut."""
        return self.core_nodes if self.exchange == HALVING else 1

    def group(self, ranks_per_node: int) -> int:
        """How many ranks share a message out among them, a slice each."""
        return 1 if self.is_one_shot else ranks_per_node


def plan_steps(nodes: int, radix: int = 2, exchange: str = DOUBLING) -> Schedule:
    """Plan the steps for `nodes` nodes, each of at most max(radix, largest prime factor) nodes.

    radix 2 is recursive doubling wherever `nodes` is a power of two; radix >= nodes is one direct
    exchange. 6 nodes run as 2 x 3; 11 as 10 = 2 x 5 with one node folded in. One node exchanges
    nothing, so all schedules of it are one.
    """
    limit = max(radix, LARGEST_RADIX)
    core = next(n for n in range(nodes, 0, -1) if max(_prime_factors(n), default=1) <= limit)
    radices = _grouped(_prime_factors(core), radix)
    return Schedule(nodes, radices, exchange if radices else DOUBLING)


def plan(nodes: int, ranks_per_node: int, radix: int, exchange: str) -> Schedule:
    """Plan the steps for any exchange; a rank alone has nothing to exchange."""
    if exchange == ONE_SHOT and ranks_per_node > 1:
        return replace(plan_steps(ranks_per_node, radix), is_one_shot=True)
    return plan_steps(nodes, radix, exchange)


def _prime_factors(number: int) -> list[int]:
    factors, divisor = [], 2
    while number > 1:
        while number % divisor == 0:
            factors.append(divisor)
            number //= divisor
        divisor += 1
    return factors


def _grouped(factors: list[int], radix: int) -> tuple[int, ...]:
    """Merge neighbouring factors while their product stays within `radix`: fewer, wider steps."""
    groups: list[int] = []
    for factor in factors:
        if groups and groups[-1] * factor <= radix:
            groups[-1] *= factor
        else:
            groups.append(factor)
    return tuple(groups)


def place_fields(rank: int, ranks_per_node: int, schedule: Schedule) -> dict[str, Any]:
    """Fields of CArguments: where `rank` stands, and its node's part in the steps between nodes."""
    node, local = divmod(rank, ranks_per_node)
    steps, stride, slots, first_part = (CStep * MAX_STEPS)(), 1, 0, 0
    for step, radix in zip(steps, schedule.radices, strict=False):
        step.radix, step.stride, step.first_slot = radix, stride, slots
        step.digit = node // stride % radix
        stride, slots = stride * radix, slots + radix - 1
        step.first_part, step.digit_parts = first_part, schedule.core_nodes // stride
        first_part += step.digit * step.digit_parts
    of_schedule = ("nodes", "core_nodes", "slots", "arrivals", "parts")
    return {
        "rank": rank,
        "node": node,
        "local": local,
        "ranks_per_node": ranks_per_node,
        **{name: getattr(schedule, name) for name in of_schedule},
        "steps": len(schedule.radices),
        "step": steps,
    }


def window_fields(nbytes: int, window_bytes: int, ranks_per_node: int) -> dict[str, int]:
    """Fields of CArguments: windows of a message of `nbytes` > 0, and a slice per local rank."""
    windows = -(-nbytes // window_bytes)
    last_bytes = nbytes - (windows - 1) * window_bytes
    slice_bytes, last_slice_bytes = (
        _round_up(-(-each // ranks_per_node), SLICE_ALIGNMENT)
        for each in (window_bytes, last_bytes)
    )
    return {
        "windows": windows,
        "window_bytes": window_bytes,
        "slice_bytes": slice_bytes,
        "last_slice_bytes": last_slice_bytes,
    }


class Layout(CLayout):
    """Offsets and sizes in bytes; `nbytes` is the whole of a rank's staging memory."""

    nbytes: int


def plan_layout(
    schedule: Schedule,
    ranks_per_node: int,
    protocol: str,
    window_bytes: int,
    chunk_bytes: int,
    blocks: int,
    all_mapped: bool = True,
) -> Layout:
    """Lay out staging memory for windows of `window_bytes` bytes of message.

    `chunk_bytes` is the smallest chunk and `blocks` the largest number of blocks of any launch.
    Unless `all_mapped`, packets may leave by way of memory of their own.
    """
    slice_bytes = _round_up(-(-window_bytes // ranks_per_node), LINE_BYTES)
    is_packet = protocol == "packet"
    region = slice_bytes
    if is_packet:
        region = _round_up(PACKET_EXPANSION * slice_bytes + blocks * EMPTY_UNIT_BYTES, LINE_BYTES)
    offsets, end = {}, 0
    for name, count in _regions(schedule, ranks_per_node, is_packet, all_mapped).items():
        offsets[name] = end
        end += count * region
    parity_bytes = _round_up(end, PAGE_BYTES)
    chunks = max(-(-slice_bytes // chunk_bytes), blocks)  # every block owns one, if empty
    meeting_bytes = blocks * ranks_per_node * LINE_BYTES
    entry = PARITIES * parity_bytes
    arrival = entry + 2 * meeting_bytes
    arrival_bytes = PARITIES * schedule.arrivals * chunks * 8
    return Layout(
        region_bytes=region,
        parity_bytes=parity_bytes,
        **offsets,
        entry_flags=entry,
        exit_flags=entry + meeting_bytes,
        arrival_flags=arrival,
        chunks_per_region=chunks,
        nbytes=_round_up(arrival + arrival_bytes, PAGE_BYTES),
    )


def _regions(
    schedule: Schedule, ranks_per_node: int, is_packet: bool, all_mapped: bool
) -> dict[str, int]:
    levels = 1 + len(schedule.radices)
    return {
        "inbox": ranks_per_node,
        "outbox": ranks_per_node if is_packet else 1,
        "partials": levels,
        "slots": schedule.slots,
        "fold": 1,
        "unfold": 1,
        "outgoing": 0 if all_mapped or not is_packet else levels,
    }


def _round_up(value: int, unit: int) -> int:
    return -(-value // unit) * unit
