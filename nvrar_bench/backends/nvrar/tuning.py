"""How a launch is shaped: blocks, threads, chunk and radix; what the user leaves open is chosen."""

from __future__ import annotations

from dataclasses import dataclass

from nvrar_bench.backends.nvrar.table import TuningTable
from nvrar_bench.errors import UsageError

DEFAULT_RADIX = 2  # recursive doubling, as published
_ALIGNMENT = 16  # of a chunk, in bytes: a slice is cut on such boundaries


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
    """

    max_blocks: int
    max_threads: int
    threads: int  # where the user leaves them open
    min_chunk_bytes: int
    max_chunk_bytes: int
    window_bytes: dict[str, int]
    slice_per_block: dict[str, int]
    min_threads: int = 1


@dataclass(frozen=True)
class Launch:
    """A launch of one rank; sizes in bytes."""

    blocks: int
    threads: int
    chunk_bytes: int
    window_bytes: int


def choose(tuning: Tuning, limits: Limits, protocol: str, nbytes: int, group: int) -> Launch:
    """Shape the launch for a message of `nbytes` on nodes of `group` ranks.

    Raises:
        UsageError: the user fixed something that the limits do not allow.
    """
    window = limits.window_bytes[protocol]
    slice_bytes = -(-min(nbytes, window) // group)
    blocks = tuning.blocks or _between(
        1, -(-slice_bytes // limits.slice_per_block[protocol]), limits.max_blocks
    )
    threads = tuning.threads or limits.threads
    chunk = tuning.chunk_bytes or _between(
        limits.min_chunk_bytes, _aligned(-(-slice_bytes // blocks)), limits.max_chunk_bytes
    )
    require_within(tuning, limits)
    return Launch(blocks, threads, chunk, window)


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
