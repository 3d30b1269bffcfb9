"""What the options say about how NVRAR is launched and GPUs are used."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nvrar_bench.backends.nvrar.tuning import Tuning, table_for
from nvrar_bench.errors import UsageError
from nvrar_bench.settings.options import require
from nvrar_bench.toolchain.structs import MAX_VIRTUAL_RANKS
from nvrar_bench.units import parse_size

FABRICS = ("auto", "host", "nvshmem", "loopback")
MOST_CALLS = 128  # of a sample: a stream that is held takes about 1000 launches


@dataclass(frozen=True)
class Launching:
    """The options as written; None where the user left one out."""

    fabric: str = "auto"
    virtual_ranks: int | None = None
    blocks: int | None = None
    threads: int | None = None
    chunk: str | None = None
    radix: int | None = None
    batch: int | None = None
    graph: int = 1
    cold_cache: bool = False
    share_gpu: bool = False
    first_epoch: int = 1
    tuning: Path | None = None
    mapped_nodes: bool = False

    def settings(
        self, device: str, ranks: int | None, nodes: int | None, follow_table: bool = True
    ) -> dict[str, Any]:
        """Return them as the fields of Settings; a tuning table is read if it is to be followed.

        Raises:
            UsageError: naming the option, the value and what is allowed.
        """
        self._require_fabric(device, ranks, nodes)
        for option, value in (("--blocks", self.blocks), ("--threads", self.threads)):
            require(value is None or value >= 1, option, value, "a whole number from 1 up")
        require(self.radix is None or 2 <= self.radix <= 64, "--radix", self.radix, "2 to 64")
        require(1 <= self.first_epoch < 2**62, "--first-epoch", self.first_epoch, "1 to 2**62 - 1")
        chunk = None if self.chunk is None else parse_size(self.chunk, option="--chunk")
        require(chunk is None or chunk >= 16, "--chunk", self.chunk, "16 bytes and more")
        table = table_for(self.tuning, "--tuning") if follow_table else None
        return {
            "virtual_ranks": self.virtual_ranks,
            "tuning": Tuning(
                self.blocks,
                self.threads,
                chunk,
                self.radix,
                self.first_epoch,
                table,
                self.mapped_nodes,
            ),
            "batch": self._batch(),
            "graph": self.graph,
            "cold_cache": self.cold_cache,
            "share_gpu": self.share_gpu,
        }

    def _batch(self) -> int | None:
        """Calls of a sample; a graph holds all of them."""
        batch, graph, allowed = self.batch, self.graph, f"1 to {MOST_CALLS}"
        require(1 <= graph <= MOST_CALLS, "--graph", graph, allowed)
        require(batch is None or 1 <= batch <= MOST_CALLS, "--batch", batch, allowed)
        if graph == 1:
            return batch
        if batch not in (None, graph):
            raise UsageError(
                f"--batch {batch} and --graph {graph}: a graph holds all calls of a sample; give "
                "one of them, or the same number twice"
            )
        return graph

    def _require_fabric(self, device: str, ranks: int | None, nodes: int | None) -> None:
        fabric, virtual = self.fabric, self.virtual_ranks
        require(fabric in FABRICS, "--fabric", fabric, ", ".join(FABRICS))
        allowed = f"2 to {MAX_VIRTUAL_RANKS}"
        require(
            virtual is None or 2 <= virtual <= MAX_VIRTUAL_RANKS,
            "--virtual-ranks",
            virtual,
            allowed,
        )
        if (fabric == "loopback") != (virtual is not None):
            raise UsageError(
                "--fabric loopback and --virtual-ranks N go together: loopback connects virtual "
                "ranks, and virtual ranks have no other fabric"
            )
        if virtual and self.mapped_nodes:
            raise UsageError(
                "--mapped-nodes and --virtual-ranks exclude each other: virtual ranks of all nodes "
                "are reached by loads and stores anyway"
            )
        if virtual and ranks:
            raise UsageError(
                f"--virtual-ranks {virtual} and --ranks {ranks} exclude each other: virtual ranks "
                "live in one process"
            )
        if virtual and nodes:
            fitting = ", ".join(str(n) for n in range(1, virtual + 1) if virtual % n == 0)
            require(
                virtual % nodes == 0, "--nodes", nodes,
                f"what divides {virtual} virtual ranks: {fitting}",
            )  # fmt: skip
        other = {"host": "cuda", "nvshmem": "cpu"}
        if other.get(fabric) == device:
            raise UsageError(
                f"--fabric {fabric} --device {device}: host connects CPU ranks, nvshmem GPUs"
            )
