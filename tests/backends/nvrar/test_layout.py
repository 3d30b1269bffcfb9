"""Staging memory: everything has room, and nothing overlaps."""

from __future__ import annotations

from itertools import pairwise, product

import pytest

from nvrar_bench.backends.nvrar.cpu import HostEngine
from nvrar_bench.backends.nvrar.layout import PARITIES, Layout, Schedule, plan_layout, plan_steps
from nvrar_bench.backends.nvrar.limits import gpu_limits, staging_bytes
from nvrar_bench.toolchain.kernel import DOUBLING, EXCHANGES, HALVING

WINDOW_BYTES = HostEngine.limits.window_bytes
CHUNK_BYTES = HostEngine.limits.max_chunk_bytes
NODES = (1, 2, 3, 5, 6, 8, 11, 13, 16)
PER_NODE = (1, 2, 3, 5, 7, 8)


def slice_bytes(window: int, per_node: int) -> int:
    """The longest slice, as kernels/window.cuh cuts it."""
    share = -(-window // per_node)
    return -(-share // 16) * 16


@pytest.mark.parametrize("protocol", ["signal", "packet"])
@pytest.mark.parametrize("window", ["the backend's", 4096, 16])
def test_regions_and_flags_lie_apart(protocol, window):
    window = WINDOW_BYTES[protocol] if isinstance(window, str) else window
    for nodes, per_node in product(NODES, PER_NODE):
        for exchange in EXCHANGES:
            check_layout(plan_steps(nodes, exchange=exchange), per_node, protocol, window)


def test_every_schedule_has_staging_memory_of_its_own():
    limits = gpu_limits(64, "nvshmem", "sm_90")

    def needed(nodes: int, *schedules: tuple[int, str]) -> int:
        planned = {plan_steps(nodes, *schedule) for schedule in schedules}
        return staging_bytes(planned, 4, limits, all_mapped=False)

    two, eight, halving = (2, DOUBLING), (8, DOUBLING), (2, HALVING)
    assert needed(8, two, eight) == needed(8, two) + needed(8, eight)
    assert needed(8, two, halving) == needed(8, two) + needed(8, halving)
    assert needed(1, two, eight, halving) == needed(1, two)
    assert needed(4, (4, DOUBLING), (5, DOUBLING), (6, DOUBLING)) == needed(4, (4, DOUBLING))


def check_layout(schedule: Schedule, per_node: int, protocol: str, window: int) -> None:
    chunk, blocks = min(CHUNK_BYTES, window), 3
    for all_mapped in (True, False):
        layout = plan_layout(schedule, per_node, protocol, window, chunk, blocks, all_mapped)
        check_spans(layout, schedule, per_node, protocol, window, chunk, blocks, all_mapped)


def check_spans(
    layout: Layout, schedule: Schedule, per_node: int, protocol: str, window: int, chunk: int,
    blocks: int, all_mapped: bool,
) -> None:  # fmt: skip
    longest = slice_bytes(window, per_node)
    # Twice the bytes in packets, and an empty unit of four cells for each block.
    room = longest * 2 + blocks * 32 if protocol == "packet" else longest
    chunks = -(-longest // chunk)
    assert layout.region_bytes >= room
    assert layout.chunks_per_region >= chunks

    # What the kernels write: regions of both parities, then flags.
    regions = [(layout.inbox, per_node), (layout.slots, schedule.slots), (layout.fold, 1)]
    regions += [(layout.outbox, per_node if protocol == "packet" else 1), (layout.unfold, 1)]
    regions += [(layout.partials, 1 + len(schedule.radices))]
    if protocol == "packet" and not all_mapped:
        regions += [(layout.outgoing, 1 + len(schedule.radices))]
    spans = [
        (parity * layout.parity_bytes + first + index * layout.region_bytes, room)
        for parity in range(PARITIES)
        for first, count in regions
        for index in range(count)
    ]
    for flags in (layout.entry_flags, layout.exit_flags):
        spans += [(flags + line * 64, 8) for line in range(blocks * per_node)]
    arrivals = schedule.slots * (2 if schedule.exchange == HALVING else 1) + 2
    flags = range(PARITIES * arrivals * layout.chunks_per_region)
    spans += [(layout.arrival_flags + index * 8, 8) for index in flags]

    spans.sort()
    assert spans[0][0] >= 0
    assert all(start + size <= following for (start, size), (following, _) in pairwise(spans))
    assert spans[-1][0] + spans[-1][1] <= layout.nbytes
    assert all(start % 8 == 0 for start, _ in spans)
