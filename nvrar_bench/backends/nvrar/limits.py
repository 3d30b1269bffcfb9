"""What a fabric on a device allows of launches, and what they start from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from nvrar_bench.backends.nvrar.layout import Layout, Schedule, plan_layout
from nvrar_bench.backends.nvrar.tuning import Tuning
from nvrar_bench.errors import UsageError
from nvrar_bench.toolchain.kernel import HALVING, ONE_SHOT, launch_classes

CHUNK_ALIGNMENT = 16  # of a chunk, in bytes: a slice is cut on such boundaries
BYTES_PER_THREAD = 16  # what it handles at a time: a load of a slice, or a unit of packets


# A rank has room for a whole window of every other one.
ONE_SHOT_WINDOW_BYTES = 256 << 10


@dataclass(frozen=True)
class Limits:
    """What one fabric on one device allows and starts from; dicts are by protocol."""

    max_blocks: int
    max_threads: int
    threads: int  # where the user leaves them open
    min_chunk_bytes: int
    max_chunk_bytes: int
    window_bytes: dict[str, int]
    slice_per_block: dict[str, int]  # bytes that keep one block busy
    message_bytes: int | None = None  # the largest, where a put is a message
    min_threads: int = 1
    blocks: int | None = None  # at most, where the user leaves them open; else max_blocks
    wide_threads: int | None = None  # where they are open and all of so many have work
    multiprocessors: int = 0  # a rank's share of its GPU; none on CPUs
    # Launch classes that kernels are built for; none on CPUs.
    classes: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def window(self, protocol: str, is_one_shot: bool = False) -> int:
        """Bytes of a message that staging memory has room for; a longer one is several windows."""
        window = self.window_bytes[protocol]
        return min(window, ONE_SHOT_WINDOW_BYTES) if is_one_shot else window

    def cut(
        self, protocol: str, nbytes: int, group: int, is_one_shot: bool = False
    ) -> tuple[int, int]:
        """Bytes of a window of a message of `nbytes`, and of a rank's slice of one."""
        window = self.window(protocol, is_one_shot)
        return window, -(-min(nbytes, window) // (1 if is_one_shot else group))

    def usual_chunk_bytes(self, exchange: str) -> int:
        """Return the most where chunks are left open; between three hosts halving sends thirds."""
        if self.message_bytes is None:
            return self.max_chunk_bytes
        return self.message_bytes * (3 if exchange == HALVING else 1)

    def launch_class(self, protocol: str, blocks: int, threads: int) -> int | None:
        """Return the smallest class that holds such a launch (UsageError); None on CPUs."""
        if not self.classes:
            return None
        if not self.holds(protocol, blocks, threads):
            most = max(self.classes[protocol])
            raise UsageError(
                f"--threads {threads}: {protocol} runs at most {most} threads on a multiprocessor; "
                f"allowed with --blocks {blocks}: up to {most // self._side_by_side(blocks)}"
            )
        needed = self._side_by_side(blocks) * threads
        return min(one for one in self.classes[protocol] if needed <= one)

    def holds(self, protocol: str, blocks: int, threads: int) -> bool:
        """Whether kernels are built for such a launch."""
        if not self.classes:
            return True
        return self._side_by_side(blocks) * threads <= max(self.classes[protocol])

    def _side_by_side(self, blocks: int) -> int:
        """How many blocks a multiprocessor holds: all run at once."""
        return -(-blocks // self.multiprocessors)


def require_within(tuning: Tuning, limits: Limits) -> None:
    """Refuse what the limits do not allow (UsageError)."""
    _require("--blocks", tuning.blocks, 1, limits.max_blocks)
    _require("--threads", tuning.threads, limits.min_threads, limits.max_threads)
    _require("--chunk", tuning.chunk_bytes, limits.min_chunk_bytes, limits.max_chunk_bytes)
    if tuning.chunk_bytes and tuning.chunk_bytes % CHUNK_ALIGNMENT:
        raise UsageError(
            f"--chunk {tuning.chunk_bytes}: allowed: a multiple of {CHUNK_ALIGNMENT} bytes"
        )


def _require(option: str, value: int | None, least: int, most: int) -> None:
    if value is not None and not least <= value <= most:
        allowed = f"{least} to {most}" if least < most else f"{least}"
        raise UsageError(f"{option} {value}: allowed here: {allowed}")


MOST_BLOCKS = 64  # of a rank, where nobody asks for more; a second one beside each is allowed
_SIDE_BY_SIDE = 2  # blocks on a multiprocessor

# Windows so large that a sweep's messages are one each; staging memory grows with them.
_WINDOW_BYTES = {"signal": 4 << 20, "packet": 2 << 20}
_THREADS = 256
_WIDE_THREADS = 512
_MIN_THREADS = 32  # NVSHMEM's block-wide calls count on a whole warp

# One 16-byte load for each thread of a block, or a unit of packets of every slice for every fourth
# one: a GPU has more multiprocessors than small messages can use, and what threads do one after the
# other adds up.
_SLICE_PER_BLOCK = {"signal": 4 << 10, "packet": 1 << 10}


def gpu_limits(multiprocessors: int, fabric: str, arch: str) -> Limits:
    """Limits of a rank whose share of a GPU is `multiprocessors`, which may be 0.

    512 threads have been measured on sm_90 alone: only there are they chosen unasked.
    """
    share = max(1, multiprocessors)
    blocks = min(MOST_BLOCKS, share)
    classes = launch_classes(fabric, arch)
    is_measured = arch == "sm_90"
    return Limits(
        max_blocks=_SIDE_BY_SIDE * blocks, max_threads=max(map(max, classes.values())),
        threads=_THREADS, min_chunk_bytes=1 << 10, max_chunk_bytes=256 << 10,
        window_bytes=_WINDOW_BYTES, slice_per_block=_SLICE_PER_BLOCK, min_threads=_MIN_THREADS,
        blocks=blocks, wide_threads=_WIDE_THREADS if is_measured else None,
        multiprocessors=share, classes=classes,
    )  # fmt: skip


# Up to which slice `auto` takes packets, and up to which share of a block.
_PACKET_SLICE_BYTES_OF_TWO = 512 << 10
_PACKET_BLOCK_BYTES_OF_TWO = 8 << 10
_PACKET_SLICE_BYTES = {"loopback": 32 << 10, "nvshmem": 64 << 10}
_PACKET_SLICE_BYTES_OF_A_NODE = 8 << 10
_PACKET_BLOCK_BYTES = 2 << 10


def packets_up_to(
    limits: Limits, fabric: str, nodes: int, ranks_per_node: int, share_gpu: bool
) -> int:
    """Up to which slice `auto` takes packets, in bytes.

    On an H200 packets won between two ranks of a node that share it up to 512K, and on `loopback`
    between more up to 32K. With earlier kernels, over NVSHMEM, they lost in one node from 16K on,
    and won on several up to 64K, while a block had 2K: docs/measurements/kernels.md.
    """
    blocks = limits.blocks or limits.max_blocks
    if nodes == 1 and ranks_per_node == 2 and share_gpu:
        return min(_PACKET_SLICE_BYTES_OF_TWO, _PACKET_BLOCK_BYTES_OF_TWO * blocks)
    if fabric == "nvshmem" and nodes == 1:
        return _PACKET_SLICE_BYTES_OF_A_NODE
    return min(_PACKET_SLICE_BYTES[fabric], _PACKET_BLOCK_BYTES * blocks)


_HALVING_SLICE_BYTES = 64 << 10


def halving_from(fabric: str, nodes: int) -> int | None:
    """From which slice on, in bytes, `auto` takes halving; None where it never does.

    Between three hosts over TCP it lost up to slices of 8K, was as fast up to 32K and won from 64K
    on (docs/measurements/kernels.md). No other fabric was measured with three nodes, and between
    two it sends as many bytes.
    """
    return _HALVING_SLICE_BYTES if fabric == "hosts" and nodes > 2 else None


_ONE_SHOT_BYTES = 1 << 10


def one_shot_up_to(fabric: str, nodes: int, ranks_per_node: int) -> int:
    """Up to which message, in bytes, `auto` sends it whole to all ranks of the node; 0: never.

    On two CPU ranks it won up to 1K and was as fast at 2K, so while a rank gets no more than 1K
    (docs/measurements/kernels.md). On GPUs it has not been measured.
    """
    is_measured = fabric == "host" and nodes == 1 and ranks_per_node > 1
    return _ONE_SHOT_BYTES // (ranks_per_node - 1) if is_measured else 0


def require_exchange(exchange: str | None, nodes: int) -> None:
    """Refuse one-shot between nodes (UsageError)."""
    if exchange == ONE_SHOT and nodes > 1:
        raise UsageError(
            f"--exchange one-shot: there are {nodes} nodes; allowed in one node, "
            "here: auto, doubling, halving"
        )


def staging_layout(
    schedule: Schedule, ranks_per_node: int, protocol: str, limits: Limits, all_mapped: bool
) -> Layout:
    """Lay out a rank's staging memory for every launch that the limits allow."""
    group, window = schedule.group(ranks_per_node), limits.window(protocol, schedule.is_one_shot)
    sizes = window, limits.min_chunk_bytes, limits.max_blocks
    return plan_layout(schedule, group, protocol, *sizes, all_mapped)


def staging_bytes(
    schedules: Iterable[Schedule], ranks_per_node: int, limits: Limits, all_mapped: bool
) -> int:
    """Bytes per rank, over all protocols and `schedules`."""
    return sum(
        staging_layout(schedule, ranks_per_node, protocol, limits, all_mapped).nbytes
        for schedule in schedules
        for protocol in limits.window_bytes
    )
