"""Whether the messages of a plan fit into memory, found out before anything is allocated."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from nvrar_bench.backends.nvrar.limits import MOST_BLOCKS, gpu_limits, staging_bytes
from nvrar_bench.datatypes import DTYPES
from nvrar_bench.devices.base import Device
from nvrar_bench.errors import UsageError
from nvrar_bench.plan import Case
from nvrar_bench.run.stages import Stage
from nvrar_bench.units import format_size

STAGING_BYTES = 64 << 20  # at most, per rank, over all protocols: it does not grow with the message
_AROUND_BYTES = 64 << 10  # canaries, and what allocators round up
# The largest share of the free memory that a run may take; the rest is MPI's and everybody else's.
SHARE = 0.8


def needed(case: Case) -> int:
    """Bytes per rank: send, recv, two sets of inputs, two of results with their tolerance."""
    result = 2 * 8 * case.count if case.check_mode == "rounding" else case.size_bytes
    return 4 * case.size_bytes + 2 * result


def symmetric_bytes(todo: Iterable[Stage], radices_of: Callable[[int], Collection[int]]) -> int:
    """Bytes of memory per rank that peers must reach on GPUs: send, recv and staging.

    `radices_of` says which radices calls may have with so many nodes.
    """
    needs = []
    for stage in todo:
        world = stage.world
        staging = staging_bytes(
            world.nodes, world.ranks_per_node, radices_of(world.nodes),
            gpu_limits(MOST_BLOCKS, "nvshmem", "sm_90"), all_mapped=False,
        )  # fmt: skip
        largest = max(case.size_bytes for case in stage.sweep.plan)
        needs.append(2 * (largest + _AROUND_BYTES) + staging)
    return max(needs)


def _fitting(case: Case, nbytes: int) -> int:
    """Return the size of the message that needs `nbytes`, of the kind of `case`."""
    return nbytes * case.size_bytes // needed(case)


def _gib(nbytes: int) -> str:
    return f"{nbytes / 2**30:.2f}G"


def require_enough(plans: Iterable[Iterable[Case]], device: Device) -> None:
    """Refuse a plan that this machine's devices cannot hold; collective over its ranks.

    Raises:
        UsageError: on every rank of a machine where it does not fit.
    """
    largest = max((case for plan in plans for case in plan), key=needed)
    per_rank = needed(largest) + STAGING_BYTES
    world = device.world
    ranks = world.local_ranks

    def look() -> None:
        free = int(device.memory.available() * SHARE)
        if per_rank * ranks > free:
            item = DTYPES[largest.dtype].itemsize
            fitting = max(item, _fitting(largest, free // ranks - STAGING_BYTES) // item * item)
            raise UsageError(
                f"size {format_size(largest.size_bytes)} (--max or --sizes) does not fit: "
                f"{ranks} ranks on {world.host} need {_gib(per_rank)} each and {_gib(free)} of "
                f"memory may be used; allowed: up to about {_gib(fitting)}"
            )

    world.on_host_leader(look)
