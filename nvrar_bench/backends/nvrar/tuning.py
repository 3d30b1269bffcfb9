"""What the user fixed of a launch, and the tuning table: what was found to be best, by size."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nvrar_bench.backends.nvrar.layout import Schedule, plan
from nvrar_bench.datatypes import DTYPES
from nvrar_bench.devices.operation import Shape
from nvrar_bench.documents.files import reason_of
from nvrar_bench.documents.tuning import Choice, MadeFor, MadeOn, TuningDocument
from nvrar_bench.errors import UsageError
from nvrar_bench.plan import Case
from nvrar_bench.toolchain.kernel import DOUBLING, ONE_SHOT
from nvrar_bench.variables import TUNING, named_table

# A tuned size stands for sizes up to so many times larger or smaller; farther from all of them the
# table has nothing to say.
REACH = 2


@dataclass(frozen=True)
class TunedLaunch:
    """The launch at one size."""

    dtype: str
    op: str
    buffers: str
    size_bytes: int
    shape: Shape


@dataclass(frozen=True)
class TuningTable:
    """Rows, and what they are good for. `source` is how messages call it: option and path."""

    source: str
    path: str
    sha256: str
    made_for: MadeFor
    made_on: MadeOn
    rows: tuple[TunedLaunch, ...]

    def require_made_for(self, here: MadeFor) -> None:
        """Refuse another topology, device or fabric (UsageError)."""
        found = list(self.made_for.differences(here))
        if found:
            raise UsageError(
                f"{self.source} was made for something else: {'; '.join(found)}; allowed: a table "
                "that `nvrar-bench tune` makes here"
            )

    def doubts(self, processor: str, kernels_sha256: str) -> Iterator[str]:
        """Say what has changed since: that makes it doubtful, not wrong."""
        there = self.made_on
        if there.processor != processor:
            yield f"tuning: the table was made on {there.processor}, this is {processor}"
        if there.kernels_sha256 != kernels_sha256:
            yield "tuning: the kernels are not those that the table was made with: tune again"

    def require_same_path(self, here: str | None) -> None:
        """Refuse another way between machines, as far as both are known (UsageError)."""
        there = self.made_on.between_machines
        if there and here and _kinds(there) != _kinds(here):
            raise UsageError(
                f"{self.source} was made for something else: between machines {there} there, "
                f"{here} here; allowed: a table that `nvrar-bench tune` makes here"
            )

    def row(self, case: Case) -> TunedLaunch | None:
        """Return what to launch `case` with: the tuned size that is nearest in log scale.

        None where no tuned size lies within a factor of REACH, or none is of these buffers and of
        a dtype of this width.
        """
        rows = self._alike(case)
        nearest = min(rows, key=lambda row: (_apart(row, case), row.size_bytes), default=None)
        return nearest if nearest and _apart(nearest, case) <= REACH else None

    def _alike(self, case: Case) -> list[TunedLaunch]:
        """Of those that move elements of this width: of this dtype and op, if there are any."""
        width = DTYPES[case.dtype].itemsize
        rows = [
            row
            for row in self.rows
            if row.buffers == case.buffers and DTYPES[row.dtype].itemsize == width
        ]
        best = max((_kinship(row, case) for row in rows), default=None)
        kin = [row for row in rows if _kinship(row, case) == best]
        return [row for row in kin if (row.dtype, row.op) == (kin[0].dtype, kin[0].op)]


def _kinds(path: str) -> set[str]:
    """What a path is made of, whatever the numbers of its adapters and interfaces."""
    return {part.partition(" ")[0] for part in path.split(", ")}


def _kinship(row: TunedLaunch, case: Case) -> tuple[bool, bool]:
    return row.dtype == case.dtype, row.op == case.op


def _apart(row: TunedLaunch, case: Case) -> float:
    """How many times the one is larger than the other."""
    sizes = row.size_bytes, case.size_bytes
    return max(sizes) / max(1, min(sizes))


def table_for(
    path: str | Path | None, option: str, environ: Mapping[str, str] = os.environ
) -> TuningTable | None:
    """Read the table at `path`, which `option` named, or else the one that $NVRAR_BENCH_TUNING has.

    UsageError: it cannot be read, or is no table.
    """
    named = named_table(path, environ)
    if named is None:
        return None
    return read_table(named, f"{option} {path}" if path is not None else f"{TUNING}={named}")


def read_table(path: Path, source: str) -> TuningTable:
    """Read the table at `path` (UsageError); `source` is how messages call it."""
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{source} cannot be read: {reason_of(error)}; allowed: a table, as written by "
            "nvrar-bench tune"
        ) from error
    return table_of(TuningDocument.from_json(content, source), source, str(path), content)


def table_of(document: TuningDocument, source: str, path: str, content: bytes) -> TuningTable:
    """Take from `document` what launches need; `content` is that of the file at `path`."""
    digest = hashlib.sha256(content).hexdigest()
    rows = tuple(map(_row, document.choices))
    return TuningTable(source, path, digest, document.made_for, document.made_on, rows)


def _row(choice: Choice) -> TunedLaunch:
    shape = Shape(
        choice.protocol, choice.blocks, choice.threads, choice.chunk_bytes, choice.radix,
        choice.exchange,
    )  # fmt: skip
    return TunedLaunch(choice.dtype, choice.op, choice.buffers, choice.size_bytes, shape)


DEFAULT_RADIX = 2  # as published
MOST_RADIX = 64


def usual_radix(exchange: str, ranks_per_node: int) -> int:
    """One step in one-shot, if it can be; else recursive doubling."""
    is_wide = exchange == ONE_SHOT and ranks_per_node > DEFAULT_RADIX
    return min(ranks_per_node, MOST_RADIX) if is_wide else DEFAULT_RADIX


@dataclass(frozen=True)
class Tuning:
    """What the user fixed; None where the choice is left to the table, or else to `choose`."""

    blocks: int | None = None  # of each rank
    threads: int | None = None  # of each block
    chunk_bytes: int | None = None  # how much of a slice one flag announces
    radix: int | None = None  # nodes that exchange directly in one step
    exchange: str | None = None  # what they exchange, one of kernel.EXCHANGES
    first_epoch: int = 1  # number of the first window; only tests have a reason to choose it
    table: TuningTable | None = None  # what was found to be best, by size
    mapped_nodes: bool = False  # other virtual nodes are reached by loads and stores, not by puts

    @property
    def fixes_nothing(self) -> bool:
        """Whether the whole launch is left open."""
        fixed = (self.blocks, self.threads, self.chunk_bytes, self.radix, self.exchange)
        return fixed == (None,) * len(fixed)

    def schedules(self, nodes: int, ranks_per_node: int) -> set[Schedule]:
        """All that calls may have: of what is fixed, or else the table's beside the usual one."""
        tuned = () if self.table is None else (row.shape for row in self.table.rows)
        usual = self.exchange or DOUBLING
        shapes = [
            (usual_radix(usual, ranks_per_node), usual),
            *((shape.radix, self.exchange or shape.exchange) for shape in tuned),
        ]
        return {
            plan(nodes, ranks_per_node, self.radix or radix, exchange) for radix, exchange in shapes
        }


AUTOMATIC = Tuning()
