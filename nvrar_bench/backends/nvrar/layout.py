"""Where things lie in a rank's staging memory: struct Layout of kernels/arguments.cuh."""

from __future__ import annotations

from dataclasses import dataclass

from nvrar_bench.backends.nvrar.schedule import Schedule

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
