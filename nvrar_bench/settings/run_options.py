"""Options that say how NVRAR is launched, by which ranks, and what comes of it. See options.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from nvrar_bench.settings.values import (
    graph_calls,
    place,
    rank_count,
    seconds_option,
    size_option,
    whole,
    whole_option,
)


@dataclass(frozen=True, kw_only=True)
class FabricOptions:
    """What connects NVRAR's ranks."""

    fabric: Annotated[
        str,
        typer.Option(
            "--fabric",
            metavar="auto|host|nvshmem|loopback",
            help="What connects NVRAR's ranks: host (CPU ranks), nvshmem (GPUs), or loopback: "
            "virtual ranks in this one process, without mpirun.",
        ),
    ] = "auto"
    virtual_ranks: Annotated[
        int | None,
        whole_option(
            "--virtual-ranks",
            help="Ranks of --fabric loopback, 2 to 16; on a GPU all in one launch.",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class ShapeOptions:
    """How NVRAR is launched; what is left out is chosen."""

    blocks: Annotated[int | None, whole_option("--blocks", help="NVRAR: blocks of each rank.")] = (
        None
    )
    threads: Annotated[
        int | None, whole_option("--threads", help="NVRAR: threads of each block.")
    ] = None
    chunk: Annotated[
        str | None, size_option("--chunk", help="NVRAR: bytes of a slice that one flag announces.")
    ] = None
    radix: Annotated[
        int | None,
        whole_option(
            "--radix",
            help="NVRAR: nodes that exchange directly in one step. [2]",
        ),
    ] = None
    exchange: Annotated[
        str,
        typer.Option(
            "--exchange",
            metavar="auto|doubling|halving",
            help="NVRAR between nodes: doubling sends whole slices, halving parts of them in twice "
            "the steps. auto follows the tuning table, else what was faster where it was measured.",
        ),
    ] = "auto"
    tuning: Annotated[
        Path | None,
        typer.Option(
            "--tuning",
            metavar="PATH",
            help="NVRAR: a table written by tune, which auto follows; other options come first. "
            "[$NVRAR_BENCH_TUNING, else none]",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class BatchOption:
    """Calls of a sample."""

    batch: Annotated[
        int | None,
        typer.Option(
            "--batch",
            metavar="K",
            parser=whole,
            help="A sample is K calls in a row behind one start, divided by K; 1 to 128. [1 on "
            "cpu and with --cold-cache; on cuda 25, fewer above 4M]",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class GraphOptions:
    """What a sample of a GPU is made of, and whether caches are flushed."""

    graph: Annotated[
        int,
        typer.Option(
            "-G",
            "--graph",
            "--cudagraph",
            metavar="K",
            parser=graph_calls,
            help="GPU: a batch of K calls, captured in one CUDA graph; 0 and 1: no graph.",
        ),
    ] = 1
    cold_cache: Annotated[
        bool,
        typer.Option(
            "--cold-cache",
            help="Flush the caches before each sample: a GPU's L2, or those of the ranks' cores.",
        ),
    ] = False


@dataclass(frozen=True, kw_only=True)
class ShareGpuOption:
    """Whether ranks may share a GPU."""

    share_gpu: Annotated[
        bool,
        typer.Option(
            "--share-gpu",
            help="Let several ranks run on one GPU, to check correctness; every "
            "result then carries a warning.",
        ),
    ] = False


@dataclass(frozen=True, kw_only=True)
class FirstEpochOption:
    """Where the count of calls begins."""

    first_epoch: Annotated[
        int,
        whole_option(
            "--first-epoch",
            help="For tests of NVRAR: number of the first window; flags wrap near 4294967296.",
        ),
    ] = 1


@dataclass(frozen=True, kw_only=True)
class RankOptions:
    """Which ranks run, who starts them, and what connects their hosts."""

    nodes: Annotated[
        int | None,
        whole_option(
            "--nodes",
            help="Split the ranks of one machine into N virtual nodes. [the real ones]",
        ),
    ] = None
    mapped_nodes: Annotated[
        bool,
        typer.Option(
            "--mapped-nodes",
            help="GPU: NVRAR reaches ranks of other virtual nodes (--nodes) by loads and stores. "
            "[by NVSHMEM's puts, as between machines]",
        ),
    ] = False
    ranks: Annotated[
        int | None,
        typer.Option(
            "--ranks",
            metavar="N|auto",
            parser=rank_count,
            help="Start mpirun with N ranks; auto: one per core that this process may use, at "
            "least 2. [run under the mpirun that started this]",
        ),
    ] = None
    launcher: Annotated[
        str | None,
        typer.Option(
            "--launcher",
            metavar="CMD",
            help="Start the ranks by this command, on any machines: 'mpirun --hostfile hosts "
            "-n 16', 'srun -N 4 -n 16 --mpi=pmix'.",
        ),
    ] = None
    network: Annotated[
        str | None,
        typer.Option(
            "--network",
            metavar="NAME|FILE",
            help="Set the variables that libraries need, or are faster with, on slingshot, "
            "infiniband, roce, tcp, or as a file says; auto: the network found, and only "
            "what is needed to run. What you have set stays. [nothing is set]",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class LaunchesOptions:
    """How often the whole launch is repeated."""

    launches: Annotated[
        int,
        whole_option(
            "--launches",
            help="With --ranks, --launcher or --virtual-ranks: launch N times, into one record.",
        ),
    ] = 1
    max_launches: Annotated[
        int | None,
        whole_option(
            "--max-launches",
            help="Launch until --launches of them found the machine in one state at every point, "
            "at most this many; implies --one-state. [as --launches]",
        ),
    ] = None

    @property
    def are_several(self) -> bool:
        """Whether this process only starts launches, and makes one record of theirs."""
        return self.launches != 1 or self.max_launches is not None


@dataclass(frozen=True, kw_only=True)
class OneStateOption:
    """Which samples medians are of."""

    one_state: Annotated[
        bool,
        typer.Option(
            "--one-state",
            help="Take medians only from samples that found the machine in one state, as shown "
            "by a yardstick between calls. [from all samples that began in time]",
        ),
    ] = False


@dataclass(frozen=True, kw_only=True)
class JsonOption:
    """Where the record is written."""

    json: Annotated[
        Path | None,
        typer.Option(
            "--json",
            metavar="PATH|-",
            parser=place,
            help="Write the run record here, after every case; - is standard output.",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """How much of the table is shown."""

    wide: Annotated[
        bool,
        typer.Option(
            "--wide", help="All columns of the table: intervals, n eff, algbw, however wide."
        ),
    ] = False
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose", help="All remarks below the table, not only the six most important."
        ),
    ] = False


@dataclass(frozen=True, kw_only=True)
class LimitOptions:
    """How long ranks wait, and the seed of random numbers."""

    timeout: Annotated[
        float,
        seconds_option(
            "-T",
            "--timeout",
            help="How long a rank waits for another before the run ends with exit code 4.",
        ),
    ] = 60.0
    seed: Annotated[
        int,
        whole_option("--seed", help="Seed of the verified inputs and of the order of measurement."),
    ] = 0
