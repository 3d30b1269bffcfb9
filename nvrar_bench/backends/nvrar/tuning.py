"""How a launch is shaped: blocks, threads, chunk and radix; what the user leaves open is chosen."""

from __future__ import annotations

from dataclasses import dataclass, field

from nvrar_bench.backends.nvrar.table import TuningTable
from nvrar_bench.errors import UsageError

DEFAULT_RADIX = 2  # recursive doubling, as published
_ALIGNMENT = 16  # of a chunk, in bytes: a slice is cut on such boundaries
# What a thread handles at a time: a 16-byte load of a slice, or a unit of packets.
BYTES_PER_THREAD = {"signal": 16, "packet": 8}


@dataclass(frozen=True)
class Tuning:
    """What the user fixed; None where the choice is left to the table, or else to `choose`.

    Attributes:
        blocks: of each rank.
        threads: of each block.
        chunk_bytes: how much of a slice one flag announces.
        radix: nodes that exchange directly in one step; 2 is recursive doubling.
        first_epoch: number of the first window; only tests have a reason to choose it.
        table: what was found to be best, by size.
        mapped_nodes: ranks of other virtual nodes are reached by loads and stores, not by puts.
    """

    blocks: int | None = None
    threads: int | None = None
    chunk_bytes: int | None = None
    radix: int | None = None
    first_epoch: int = 1
    table: TuningTable | None = None
    mapped_nodes: bool = False

    @property
    def radices(self) -> tuple[int, ...]:
        """All that calls may have: the one that is fixed, or the table's beside the usual one."""
        if self.radix is not None:
            return (self.radix,)
        tuned = () if self.table is None else (row.shape.radix for row in self.table.rows)
        return tuple(sorted({DEFAULT_RADIX, *tuned}))


AUTOMATIC = Tuning()


@dataclass(frozen=True)
class Limits:
    """What one fabric on one device allows and starts from.

    `slice_per_block` is how much of a slice, in bytes, keeps one block busy, by protocol.
    `multiprocessors` are a rank's share of its GPU, and `classes` the launch classes that kernels
    are built for, by protocol; on CPUs there are neither.
    """

    max_blocks: int
    max_threads: int
    threads: int  # where the user leaves them open
    min_chunk_bytes: int
    max_chunk_bytes: int
    window_bytes: dict[str, int]
    slice_per_block: dict[str, int]
    min_threads: int = 1
    blocks: int | None = None  # at most, where the user leaves them open; else max_blocks
    wide_threads: int | None = None  # where they are open and all of so many have work
    multiprocessors: int = 0
    classes: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def launch_class(self, protocol: str, blocks: int, threads: int) -> int | None:
        """Return the smallest class that holds such a launch; None on CPUs.

        Raises:
            UsageError: none does.
        """
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


@dataclass(frozen=True)
class Launch:
    """A launch of one rank; sizes in bytes.

    `launch_class` is that of the kernel that runs it, None on CPUs.
    """

    blocks: int
    threads: int
    chunk_bytes: int
    window_bytes: int
    launch_class: int | None = None


def choose(tuning: Tuning, limits: Limits, protocol: str, nbytes: int, group: int) -> Launch:
    """Shape the launch for a message of `nbytes` on nodes of `group` ranks.

    Raises:
        UsageError: the user fixed something that the limits do not allow.
    """
    window = limits.window_bytes[protocol]
    slice_bytes = -(-min(nbytes, window) // group)
    blocks = tuning.blocks or _between(
        1, -(-slice_bytes // limits.slice_per_block[protocol]), limits.blocks or limits.max_blocks
    )
    share = -(-slice_bytes // blocks)
    chunk = tuning.chunk_bytes or _between(
        limits.min_chunk_bytes, _aligned(share), limits.max_chunk_bytes
    )
    threads = tuning.threads or _threads(limits, protocol, blocks, min(share, chunk))
    require_within(tuning, limits)
    launch_class = limits.launch_class(protocol, blocks, threads)
    return Launch(blocks, threads, chunk, window, launch_class)


def _threads(limits: Limits, protocol: str, blocks: int, chunk: int) -> int:
    """Twice as many where all find something in a chunk; fewer where blocks share multiprocessors.

    Measured on an H200, for 8 ranks as 2 nodes of 4 with 16 blocks each, in us with 256 and with
    512 threads (docs/measurements/2026-11-27-h200/variants/k-base.json and k-t512.json):

        of a slice, for a block    2K           4K             8K             32K
        signal                                  9.78   9.98    11.28  10.54   24.00  19.02
        packet                     9.00  9.28   14.39  10.36   26.85  17.07   122.0  72.02
    """
    wide = limits.wide_threads
    if wide and chunk >= wide * BYTES_PER_THREAD[protocol] and limits.holds(protocol, blocks, wide):
        return wide
    threads = limits.threads
    while threads > limits.min_threads and not limits.holds(protocol, blocks, threads):
        threads //= 2
    return threads


def require_within(tuning: Tuning, limits: Limits) -> None:
    """Refuse what the limits do not allow.

    Raises:
        UsageError: naming the option, the value and what is allowed.
    """
    _require("--blocks", tuning.blocks, 1, limits.max_blocks)
    _require("--threads", tuning.threads, limits.min_threads, limits.max_threads)
    _require("--chunk", tuning.chunk_bytes, limits.min_chunk_bytes, limits.max_chunk_bytes)
    if tuning.chunk_bytes and tuning.chunk_bytes % _ALIGNMENT:
        raise UsageError(f"--chunk {tuning.chunk_bytes}: allowed: a multiple of {_ALIGNMENT} bytes")


def _require(option: str, value: int | None, least: int, most: int) -> None:
    if value is not None and not least <= value <= most:
        allowed = f"{least} to {most}" if least < most else f"{least}"
        raise UsageError(f"{option} {value}: allowed here: {allowed}")


def _between(least: int, value: int, most: int) -> int:
    return max(least, min(value, most))


def _aligned(nbytes: int) -> int:
    return -(-nbytes // _ALIGNMENT) * _ALIGNMENT
