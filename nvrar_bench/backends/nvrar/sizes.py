"""What launches on a GPU start from, and how much staging memory a rank needs."""

from __future__ import annotations

from collections.abc import Iterable

from nvrar_bench.backends.nvrar.layout import plan_layout
from nvrar_bench.backends.nvrar.schedule import plan_steps
from nvrar_bench.backends.nvrar.tuning import Limits

MOST_BLOCKS = 64

# Windows so large that a sweep's messages are one each; staging memory grows with them.
_WINDOW_BYTES = {"signal": 4 << 20, "packet": 2 << 20}
_MAX_THREADS = 256  # __launch_bounds__ of kernels/fabric/
_MIN_THREADS = 32  # NVSHMEM's block-wide calls count on a whole warp

# One 16-byte load for each thread of a block, or a unit of packets of every slice for every second
# one: a GPU has more multiprocessors than small messages can use, and what threads do one after the
# other adds up.
_SLICE_PER_BLOCK = {"signal": 4 << 10, "packet": 1 << 10}


def gpu_limits(blocks: int) -> Limits:
    """Limits of a rank that may have `blocks` blocks."""
    return Limits(
        max_blocks=blocks, max_threads=_MAX_THREADS, threads=_MAX_THREADS, min_chunk_bytes=1 << 10,
        max_chunk_bytes=256 << 10, window_bytes=_WINDOW_BYTES, slice_per_block=_SLICE_PER_BLOCK,
        min_threads=_MIN_THREADS,
    )  # fmt: skip


def staging_bytes(
    nodes: int, ranks_per_node: int, radices: Iterable[int], limits: Limits, all_mapped: bool
) -> int:
    """Bytes per rank, over all protocols and all schedules that `radices` come to."""
    return sum(
        plan_layout(
            schedule, ranks_per_node, protocol, window, limits.min_chunk_bytes, limits.max_blocks,
            all_mapped,
        ).nbytes
        for schedule in {plan_steps(nodes, radix) for radix in radices}
        for protocol, window in limits.window_bytes.items()
    )  # fmt: skip
