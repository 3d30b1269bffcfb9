"""Where things lie in a rank's staging memory: struct Layout of kernels/arguments.cuh."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

PARITIES = 2  # two suffice: docs/protocol.md
LINE_BYTES = 64
PAGE_BYTES = 4096
PACKET_EXPANSION = 2  # 4 bytes of data and 4 of flag
EMPTY_UNIT_BYTES = 16  # two cells, of each block, behind a region of packets


@dataclass(frozen=True)
class Layout:
    """Offsets and sizes in bytes; `nbytes` is the whole of a rank's staging memory."""

    region_bytes: int
    parity_bytes: int
    inbox: int
    outbox: int
    partials: int
    slots: int
    fold: int
    unfold: int
    outgoing: int
    entry_flags: int
    exit_flags: int
    arrival_flags: int
    chunks_per_region: int
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
    levels = 1 + len(schedule.radices)
    counts = {
        "inbox": ranks_per_node,
        "outbox": ranks_per_node if is_packet else 1,
        "partials": levels,
        "slots": schedule.slots,
        "fold": 1,
        "unfold": 1,
        "outgoing": 0 if all_mapped or not is_packet else levels + 1,
    }
    offsets, end = {}, 0
    for name, count in counts.items():
        offsets[name] = end
        end += count * region
    parity_bytes = _round_up(end, PAGE_BYTES)
    chunks = max(-(-slice_bytes // chunk_bytes), blocks)  # every block owns one, if empty
    meeting_bytes = blocks * ranks_per_node * LINE_BYTES
    entry = PARITIES * parity_bytes
    arrival = entry + 2 * meeting_bytes
    arrival_bytes = PARITIES * (schedule.slots + 2) * chunks * 8
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


def _round_up(value: int, unit: int) -> int:
    return -(-value // unit) * unit


LARGEST_RADIX = 7  # of a prime step: a larger prime folds nodes in rather than widen a step so far


@dataclass(frozen=True)
class Schedule:
    """Steps between nodes: `radices[s]` nodes exchange in step s.

    The first `core_nodes` = prod(radices) nodes run the steps; every further node is folded into
    one of them before, and gets the result back after.
    """

    nodes: int
    radices: tuple[int, ...]

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


def plan_steps(nodes: int, radix: int = 2) -> Schedule:
    """Plan the steps for `nodes` nodes, each of at most max(radix, largest prime factor) nodes.

    radix 2 is recursive doubling wherever `nodes` is a power of two; radix >= nodes is one direct
    exchange. 6 nodes run as 2 x 3; 11 as 10 = 2 x 5 with one node folded in.
    """
    limit = max(radix, LARGEST_RADIX)
    core = next(n for n in range(nodes, 0, -1) if max(_prime_factors(n), default=1) <= limit)
    return Schedule(nodes, _grouped(_prime_factors(core), radix))


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
