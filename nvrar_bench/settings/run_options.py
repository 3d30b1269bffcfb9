"""Options that say how NVRAR is launched, by which ranks, and what comes of it. See options.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nvrar_bench.settings.option import flag, graph_calls, option, place, rank_count


@dataclass(frozen=True, kw_only=True)
class FabricOptions:
    """What connects NVRAR's ranks."""

    fabric: str = option(
        "--fabric auto|host|nvshmem|loopback",
        "What connects NVRAR's ranks: host (CPU ranks), nvshmem (GPUs), or loopback: virtual "
        "ranks in this one process, without mpirun.",
        default="auto",
    )
    virtual_ranks: int | None = option(
        "--virtual-ranks N", "Ranks of --fabric loopback, 2 to 16; on a GPU all in one launch."
    )


@dataclass(frozen=True, kw_only=True)
class ShapeOptions:
    """How NVRAR is launched; what is left out is chosen."""

    blocks: int | None = option("--blocks N", "NVRAR: blocks of each rank.")
    threads: int | None = option("--threads N", "NVRAR: threads of each block.")
    chunk: str | None = option("--chunk SIZE", "NVRAR: bytes of a slice that one flag announces.")
    radix: int | None = option(
        "--radix N", "NVRAR: nodes that exchange directly in one step. [2; one-shot: all ranks]"
    )
    exchange: str = option(
        "--exchange auto|doubling|halving|one-shot",
        "NVRAR between nodes: doubling sends whole slices, halving parts of them in twice the "
        "steps. In one node, one-shot sends each rank's message to all others at once. auto "
        "follows the tuning table, else what was faster where it was measured.",
        default="auto",
    )
    tuning: Path | None = option(
        "--tuning PATH",
        "NVRAR: a table written by tune, which auto follows; other options come first. "
        "[$NVRAR_BENCH_TUNING, else none]",
    )


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """Calls of a sample, and whether a CUDA graph holds them."""

    batch: int | None = option(
        "--batch K",
        "A sample is K calls in a row behind one start, divided by K; 1 to 128. [1 on cpu and "
        "with --cold-cache; on cuda 25, fewer above 4M]",
    )
    graph: int = option(
        "-G, --graph, --cudagraph K",
        "GPU: a batch of K calls, captured in one CUDA graph; 0 and 1: no graph.",
        default=1,
        parser=graph_calls,
    )


@dataclass(frozen=True, kw_only=True)
class ColdCacheOption:
    """Whether caches are flushed."""

    cold_cache: bool = flag(
        "--cold-cache",
        "Flush the caches before each sample: a GPU's L2, or those of the ranks' cores.",
    )


@dataclass(frozen=True, kw_only=True)
class ShareGpuOption:
    """Whether ranks may share a GPU."""

    share_gpu: bool = flag(
        "--share-gpu",
        "Let several ranks run on one GPU, to check correctness; every result then carries a "
        "warning.",
    )


@dataclass(frozen=True, kw_only=True)
class FirstEpochOption:
    """Where the count of calls begins."""

    first_epoch: int = option(
        "--first-epoch N",
        "For tests of NVRAR: number of the first window; flags wrap near 4294967296.",
        default=1,
    )


@dataclass(frozen=True, kw_only=True)
class RankOptions:
    """Which ranks run, who starts them, and what connects their hosts."""

    nodes: int | None = option(
        "--nodes N", "Split the ranks of one machine into N virtual nodes. [the real ones]"
    )
    mapped_nodes: bool = flag(
        "--mapped-nodes",
        "GPU: NVRAR reaches ranks of other virtual nodes (--nodes) by loads and stores. [by "
        "NVSHMEM's puts, as between machines]",
    )
    ranks: int | None = option(
        "--ranks N|auto",
        "Start mpirun with N ranks; auto: one per core that this process may use, at least 2. "
        "[run under the mpirun that started this]",
        parser=rank_count,
    )
    launcher: str | None = option(
        "--launcher CMD",
        "Start the ranks by this command, on any machines: 'mpirun --hostfile hosts -n 16', 'srun "
        "-N 4 -n 16 --mpi=pmix'.",
    )
    network: str | None = option(
        "--network NAME|FILE",
        "Set the variables that libraries need, or are faster with, on slingshot, infiniband, "
        "roce, tcp, or as a file says; auto: the network found, and only what is needed to run. "
        "What you have set stays. [nothing is set]",
    )


@dataclass(frozen=True, kw_only=True)
class LaunchesOptions:
    """How often the whole launch is repeated."""

    launches: int = option(
        "--launches N",
        "With --ranks, --launcher or --virtual-ranks: launch N times, into one record.",
        default=1,
    )
    max_launches: int | None = option(
        "--max-launches N",
        "Launch until --launches of them found the machine in one state at every point, at most "
        "this many; implies --one-state. [as --launches]",
    )

    @property
    def are_several(self) -> bool:
        """Whether this process only starts launches, and makes one record of theirs."""
        return self.launches != 1 or self.max_launches is not None


@dataclass(frozen=True, kw_only=True)
class OneStateOption:
    """Which samples medians are of."""

    one_state: bool = flag(
        "--one-state",
        "Take medians only from samples that found the machine in one state, as shown by a "
        "yardstick between calls. [from all samples that began in time]",
    )


@dataclass(frozen=True, kw_only=True)
class JsonOption:
    """Where the record is written."""

    json: Path | None = option(
        "--json PATH|-",
        "Write the run record here, after every case; - is standard output.",
        parser=place,
    )


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """How much of the table is shown."""

    wide: bool = flag("--wide", "All columns of the table: intervals, n eff, algbw, however wide.")
    verbose: bool = flag(
        "--verbose", "All remarks below the table, not only the six most important."
    )


@dataclass(frozen=True, kw_only=True)
class LimitOptions:
    """How long ranks wait, and the seed of random numbers."""

    timeout: float = option(
        "-T, --timeout SECONDS",
        "How long a rank waits for another before the run ends with exit code 4.",
        default=60.0,
    )
    seed: int = option(
        "--seed N", "Seed of the verified inputs and of the order of measurement.", default=0
    )
