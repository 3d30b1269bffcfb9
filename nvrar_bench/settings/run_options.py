"""Options that say how NVRAR is launched, by which ranks, and what comes of it. See options.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nvrar_bench.settings.option import (
    NVRAR,
    OUTPUT,
    PLACES,
    SAMPLES,
    flag,
    graph_calls,
    option,
    place,
    rank_count,
)


@dataclass(frozen=True, kw_only=True)
class FabricOptions:
    """What connects NVRAR's ranks."""

    panel = NVRAR

    fabric: str = option(
        "--fabric auto|host|nvshmem|loopback",
        "How NVRAR's ranks communicate. host: CPU ranks. nvshmem: GPUs. loopback: virtual ranks "
        "in this one process, without mpirun.",
        default="auto",
    )
    virtual_ranks: int | None = option(
        "--virtual-ranks N", "Ranks of --fabric loopback, 2 to 16; on a GPU all in one launch."
    )


@dataclass(frozen=True, kw_only=True)
class ShapeOptions:
    """How NVRAR is launched; what is left out is chosen."""

    panel = NVRAR

    blocks: int | None = option("--blocks N", "Blocks of each rank.")
    threads: int | None = option("--threads N", "Threads of each block.")
    chunk: str | None = option("--chunk SIZE", "Bytes of a slice that one flag announces.")
    radix: int | None = option(
        "--radix N", "Nodes that exchange directly in one step. [2; one-shot: all ranks]"
    )
    exchange: str = option(
        "--exchange auto|doubling|halving|one-shot",
        "doubling: nodes send whole slices. halving: parts of them, fewer bytes in twice the "
        "steps. one-shot: in one node, each rank sends its message to all others at once. auto: "
        "what the tuning table says, else what measured fastest.",
        default="auto",
    )
    tuning: Path | None = option(
        "--tuning PATH",
        "A table written by tune: what auto chooses. Options that you give override it. "
        "[$NVRAR_BENCH_TUNING, else none]",
    )


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """Calls of a sample, and whether a CUDA graph holds them."""

    panel = SAMPLES

    batch: int | None = option(
        "--batch K",
        "A sample is K calls in a row, divided by K; 1 to 128. [1 on cpu and with --cold-cache; "
        "on cuda 25, fewer above 4M]",
    )
    graph: int = option(
        "-G, --graph, --cudagraph K",
        "GPU: run a batch of K calls as one CUDA graph; 0 and 1: no graph.",
        default=1,
        parser=graph_calls,
    )


@dataclass(frozen=True, kw_only=True)
class ColdCacheOption:
    """Whether caches are flushed."""

    panel = SAMPLES

    cold_cache: bool = flag(
        "--cold-cache",
        "Flush the caches before each sample: a GPU's L2, or those of the ranks' cores.",
    )


@dataclass(frozen=True, kw_only=True)
class ShareGpuOption:
    """Whether ranks may share a GPU."""

    panel = PLACES

    share_gpu: bool = flag(
        "--share-gpu",
        "Allow several ranks on one GPU, to check correctness. Every result carries a warning.",
    )


@dataclass(frozen=True, kw_only=True)
class FirstEpochOption:
    """Where the count of calls begins."""

    panel = NVRAR

    first_epoch: int = option(
        "--first-epoch N",
        "For tests: number of the first window; flags wrap near 4294967296.",
        default=1,
    )


@dataclass(frozen=True, kw_only=True)
class RankOptions:
    """Which ranks run, who starts them, and what connects their hosts."""

    panel = PLACES

    ranks: int | None = option(
        "--ranks N|auto",
        "Start N ranks on this machine. auto: one per core that this process may use, at least 2. "
        "[the ranks of the mpirun that started this]",
        parser=rank_count,
    )
    launcher: str | None = option(
        "--launcher CMD",
        "Start the ranks with this command, on any machines: 'mpirun --hostfile hosts -n 16', "
        "'srun -N 4 -n 16 --mpi=pmix'.",
    )
    nodes: int | None = option(
        "--nodes N", "Split the ranks of one machine into N virtual nodes. [the real ones]"
    )
    mapped_nodes: bool = flag(
        "--mapped-nodes",
        "GPU: NVRAR reaches other virtual nodes (--nodes) by loads and stores. [by NVSHMEM's "
        "puts, as between machines]",
    )
    network: str | None = option(
        "--network NAME|FILE",
        "Set the environment variables that libraries need, or are faster with, on slingshot, "
        "infiniband, roce, tcp, or of a file. auto: the network found, and only what it needs. "
        "Variables that you have set stay. [nothing is set]",
    )


@dataclass(frozen=True, kw_only=True)
class LaunchesOptions:
    """How often the whole launch is repeated."""

    panel = PLACES

    launches: int = option(
        "--launches N",
        "Start all ranks N times and measure anew, into one record. Needs --ranks, --launcher or "
        "--virtual-ranks.",
        default=1,
    )
    max_launches: int | None = option(
        "--max-launches N",
        "Go on until --launches launches found the machine at one common speed at every point, at "
        "most this many. Implies --one-state. [--launches]",
    )

    @property
    def are_several(self) -> bool:
        """Whether this process only starts launches, and makes one record of theirs."""
        return self.launches != 1 or self.max_launches is not None


@dataclass(frozen=True, kw_only=True)
class OneStateOption:
    """Which samples medians are of."""

    panel = SAMPLES

    one_state: bool = flag(
        "--one-state",
        "Take medians only from samples while the machine ran at one speed, which short tests "
        "between calls show. [from all samples that began in time]",
    )


@dataclass(frozen=True, kw_only=True)
class JsonOption:
    """Where the record is written."""

    panel = OUTPUT

    json: Path | None = option(
        "--json PATH|-",
        "Write the run record here, after every case; - is standard output.",
        parser=place,
    )


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """How much of the table is shown."""

    panel = OUTPUT

    wide: bool = flag("--wide", "Show all columns: intervals, effective samples, algbw.")
    verbose: bool = flag("--verbose", "Show all notes, not only the six most important.")


@dataclass(frozen=True, kw_only=True)
class LimitOptions:
    """How long ranks wait, and the seed of random numbers."""

    panel = OUTPUT

    timeout: float = option(
        "-T, --timeout SECONDS",
        "How long a rank waits for another before the run ends with exit code 4.",
        default=60.0,
    )
    seed: int = option(
        "--seed N", "Seed of the verified inputs and of the order of measurement.", default=0
    )
