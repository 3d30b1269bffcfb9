"""What a call is launched with: what the user fixed, the tuning table, or what size suggests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from nvrar_bench.backends.nvrar.limits import (
    BYTES_PER_THREAD,
    CHUNK_ALIGNMENT,
    Limits,
    require_within,
)
from nvrar_bench.backends.nvrar.tuning import (
    REACH,
    TunedLaunch,
    Tuning,
    TuningTable,
    table_of,
    usual_radix,
)
from nvrar_bench.devices.operation import Shape
from nvrar_bench.documents.files import parse_json
from nvrar_bench.documents.tuning import MadeFor, TuningDocument
from nvrar_bench.errors import UsageError
from nvrar_bench.plan import Case
from nvrar_bench.toolchain.kernel import DOUBLING, HALVING, ONE_SHOT

NOTHING_NEAR = (
    f"tuning: the table has no size within a factor of {REACH}, of a type of this width and of "
    "these buffers: launches are as without a table"
)


@dataclass(frozen=True)
class Chosen:
    """What a call is launched with."""

    shape: Shape
    window_bytes: int
    launch_class: int | None = None  # of the kernel that runs it; None on CPUs
    tuned_at: int | None = None  # the size in the table that it follows; None: it follows none
    warnings: tuple[str, ...] = ()  # what of the table it does not follow


@dataclass(frozen=True)
class Chooser:
    """Chooses the launch of each call."""

    limits: Limits
    group: int  # ranks of a node
    packets_up_to: int  # bytes of a slice that goes by packets
    halving_from: int | None = None  # bytes of a slice that goes in parts
    one_shot_up_to: int = 0  # bytes of a message that goes whole to all ranks of the node
    shipped: TuningTable | None = None  # the package's own table, where it has one

    def choose(self, tuning: Tuning, case: Case) -> Chosen:
        """What the user fixed comes first, then the user's table, then what is usual here.

        UsageError: the user fixed something that the limits do not allow.
        """
        if tuning.table is None:
            return self._usual(tuning, case)
        row = tuning.table.row(case)
        if row is None:
            return replace(self._usual(tuning, case), warnings=(NOTHING_NEAR,))
        if case.protocol not in ("auto", row.shape.protocol):
            text = (
                f"tuning: the table has {row.shape.protocol} here: with --protocol "
                f"{case.protocol} launches are as without a table"
            )
            return replace(self._usual(tuning, case), warnings=(text,))
        chosen = self._of(_filled(tuning, row.shape), case, row.shape.protocol)
        overruled = tuple(_overruled(tuning, row.shape))
        return replace(chosen, tuned_at=row.size_bytes, warnings=overruled)

    def shaped(self, shape: Shape, case: Case) -> Chosen:
        """Launch `case` as `shape`, whatever its protocol is, within the limits (UsageError)."""
        return self._of(fixed(shape), case, shape.protocol)

    def _usual(self, tuning: Tuning, case: Case) -> Chosen:
        """By the table that ships, where all of a launch is open; else as limits and size suggest.

        Its launches are whole: with other blocks, say, its threads need not be good.
        """
        row = self.shipped.row(case) if self.shipped and tuning.fixes_nothing else None
        if row is None or case.protocol not in ("auto", row.shape.protocol):
            return self._of(tuning, case, self._protocol(tuning, case))
        return replace(self.shaped(row.shape, case), tuned_at=row.size_bytes)

    def _of(self, tuning: Tuning, case: Case, protocol: str) -> Chosen:
        """Choose by size what `tuning` leaves open (UsageError: it fixes what is not allowed)."""
        limits, exchange = self.limits, tuning.exchange or self._exchange(case, protocol)
        is_one_shot = exchange == ONE_SHOT
        window, slice_bytes = limits.cut(protocol, case.size_bytes, self.group, is_one_shot)
        useful = -(-slice_bytes // limits.slice_per_block[protocol])
        blocks = tuning.blocks or max(1, min(useful, limits.blocks or limits.max_blocks))
        share = -(-slice_bytes // blocks)
        aligned = -(-share // CHUNK_ALIGNMENT) * CHUNK_ALIGNMENT
        chunk = tuning.chunk_bytes or max(
            limits.min_chunk_bytes, min(aligned, limits.usual_chunk_bytes(exchange))
        )
        threads = tuning.threads or _threads(limits, protocol, blocks, min(share, chunk))
        require_within(tuning, limits)
        launch_class = limits.launch_class(protocol, blocks, threads)
        radix = tuning.radix or usual_radix(exchange, self.group)
        shape = Shape(protocol, blocks, threads, chunk, radix, exchange)
        return Chosen(shape, window, launch_class)

    def _exchange(self, case: Case, protocol: str) -> str:
        if protocol == "signal" and case.size_bytes <= self.one_shot_up_to:
            return ONE_SHOT
        is_long = self.halving_from is not None and self._slice_bytes(case) >= self.halving_from
        return HALVING if is_long else DOUBLING

    def _slice_bytes(self, case: Case) -> int:
        return -(-case.size_bytes // self.group)

    def _protocol(self, tuning: Tuning, case: Case) -> str:
        """`auto` is what the engine is faster with for slices of this size.

        It is `signal` where packets have no kernel for the threads that the user fixed.
        """
        if case.protocol != "auto":
            return case.protocol
        is_small = self._slice_bytes(case) <= self.packets_up_to
        fits = self.limits.holds("packet", tuning.blocks or 1, tuning.threads or 1)
        return "packet" if is_small and fits else "signal"


# What of a shape the user may fix, and the option that does.
_OPTIONS = {
    "blocks": "--blocks",
    "threads": "--threads",
    "chunk_bytes": "--chunk",
    "radix": "--radix",
    "exchange": "--exchange",
}


def _filled(tuning: Tuning, shape: Shape) -> Tuning:
    """Leave to `shape` what the user left open."""
    return Tuning(
        tuning.blocks or shape.blocks,
        tuning.threads or shape.threads,
        tuning.chunk_bytes or shape.chunk_bytes,
        tuning.radix or shape.radix,
        tuning.exchange or shape.exchange,
    )


def _overruled(tuning: Tuning, shape: Shape) -> Iterator[str]:
    for key, option in _OPTIONS.items():
        fixed, tuned = getattr(tuning, key), getattr(shape, key)
        if fixed not in (None, tuned):
            yield f"tuning: {option} {fixed} stands in place of the table's {tuned}"


def fixed(shape: Shape) -> Tuning:
    """Leave nothing open."""
    return Tuning(shape.blocks, shape.threads, shape.chunk_bytes, shape.radix, shape.exchange)


def require_table_within(table: TuningTable, limits: Limits) -> None:
    """Refuse a table with a row that the limits do not allow (UsageError)."""
    for row in table.rows:
        require_row_within(table, row, limits)


def require_row_within(table: TuningTable, row: TunedLaunch, limits: Limits) -> None:
    """As `require_table_within`, of one row."""
    try:
        require_within(fixed(row.shape), limits)
        limits.launch_class(row.shape.protocol, row.shape.blocks, row.shape.threads)
    except UsageError as error:
        raise UsageError(
            f"{table.source}: the choice at {row.size_bytes} bytes ({row.shape}) cannot be "
            f"launched here: {error}"
        ) from error


# Of `ARCH.table`, the tables that ship: one of `nvrar-bench tune` for each fabric and number of
# ranks that was raced on such a GPU, beside a rank's share of its multiprocessors. ci/gpu_table.py
# writes it from the records of a GPU run.
FOLDER = Path(__file__).parent


def shipped_table(here: MadeFor, limits: Limits) -> TuningTable | None:
    """Return the table that was made for just this, of rows that run here as they were measured.

    On a model with fewer multiprocessors, or more, as many blocks may need another launch class,
    and so another kernel. A row in which they do is left out: its sizes are launched by a row
    near them, or as if nothing shipped. None where no row is left, or nothing ships for the
    architecture, these ranks and this fabric.
    """
    path = FOLDER / f"{here.arch}.table"
    if not path.is_file():
        return None
    content = path.read_bytes()
    for one in parse_json(content)["tables"]:
        document = TuningDocument.from_json(one["table"], str(path))
        if document.made_for == here:
            table = table_of(document, path.name, path.name, content)
            there = replace(limits, multiprocessors=one["multiprocessors"])
            rows = tuple(row for row in table.rows if _runs_alike(table, row, limits, there))
            return replace(table, rows=rows) if rows else None
    return None


def _runs_alike(table: TuningTable, row: TunedLaunch, here: Limits, there: Limits) -> bool:
    launch = row.shape.protocol, row.shape.blocks, row.shape.threads
    try:
        require_row_within(table, row, here)
    except UsageError:
        return False
    return here.launch_class(*launch) == there.launch_class(*launch)


def _threads(limits: Limits, protocol: str, blocks: int, chunk: int) -> int:
    """Twice as many where all find something in a chunk; fewer where blocks share multiprocessors.

    Measured on an H200, for 8 ranks as 2 nodes of 4 with 16 blocks each, in us with 256 and with
    512 threads (docs/measurements/2026-11-27-h200/variants/k-base.json and k-t512.json):

        of a slice, for a block    2K           4K             8K             32K
        signal                                  9.78   9.98    11.28  10.54   24.00  19.02
        packet                     9.00  9.28   14.39  10.36   26.85  17.07   122.0  72.02

    A unit of packets had 8 bytes then, and has 16 now: 4K are one for each of 256 threads.
    """
    wide = limits.wide_threads
    if wide and chunk >= wide * BYTES_PER_THREAD and limits.holds(protocol, blocks, wide):
        return wide
    threads = limits.threads
    while threads > limits.min_threads and not limits.holds(protocol, blocks, threads):
        threads //= 2
    return threads
