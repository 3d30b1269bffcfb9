"""All options of the commands that run ranks, and those of `report`.

Groups of options that commands share are declared once, in measure_options.py and run_options.py; a
command's options inherit its groups, in the order of --help. A short flag that nccl-tests has too
means the same here, except -G; its long names are accepted beside ours. The options that we lack
are in cli/nccl_tests.py. Importing this loads neither NumPy nor MPI: --help needs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from nvrar_bench.settings import measure_options as measure
from nvrar_bench.settings import run_options as run
from nvrar_bench.settings.option import (
    CASES,
    CHECKS,
    OUTPUT,
    REQUIRED,
    argument,
    flag,
    option,
    place,
)


@dataclass(frozen=True, kw_only=True)
class SweepOptions(
    measure.SizeOptions,
    measure.CaseFileOption,
    measure.CaseOptions,
    run.RankOptions,
    run.LaunchesOptions,
    measure.BackendOption,
    measure.DeviceOption,
    run.ShareGpuOption,
    measure.CountOptions,
    measure.PrecisionOptions,
    run.BatchOptions,
    run.ColdCacheOption,
    run.OneStateOption,
    measure.CheckingOptions,
    measure.CheckModeOption,
    run.FabricOptions,
    run.ShapeOptions,
    run.FirstEpochOption,
    run.JsonOption,
    run.TableOptions,
    run.LimitOptions,
):
    """Options of `sweep`."""


@dataclass(frozen=True, kw_only=True)
class CheckOptions(
    measure.CheckModeOption,
    run.RankOptions,
    measure.BackendOption,
    measure.DeviceOption,
    run.ShareGpuOption,
    run.FabricOptions,
    run.ShapeOptions,
    run.FirstEpochOption,
    run.JsonOption,
    run.LimitOptions,
):
    """Options of `check`, which has a case file by default."""

    panel = CHECKS

    case: str | None = option(
        "--case FILE",
        "A case file (TOML), or one of smoke, correctness, paper, decode. [correctness]",
    )
    soak: str | None = option(
        "--soak CALLS|DURATION",
        "Random calls instead of a case file, each verified: this many, or for 90s, 10m, 2h.",
    )


@dataclass(frozen=True, kw_only=True)
class TuningTableOption:
    """Where `tune` writes its table."""

    panel = OUTPUT

    output: Path = option(
        "--output PATH", "Write the table here, after every size.", default=REQUIRED, parser=place
    )


@dataclass(frozen=True, kw_only=True)
class TuneOptions(
    measure.SizeOptions,
    measure.SearchOptions,
    run.RankOptions,
    measure.DeviceOption,
    run.ShareGpuOption,
    run.BatchOptions,
    run.FabricOptions,
    TuningTableOption,
    run.JsonOption,
    run.LimitOptions,
):
    """Options of `tune`."""


@dataclass(frozen=True, kw_only=True)
class DecodeOptions(
    run.RankOptions,
    measure.BackendOption,
    measure.DeviceOption,
    run.ShareGpuOption,
    measure.PrecisionOptions,
    measure.CheckingOptions,
    run.FabricOptions,
    run.ShapeOptions,
    run.FirstEpochOption,
    run.JsonOption,
    run.LimitOptions,
):
    """Options of `decode`: what a step is of, how often it is run, and groups that others have."""

    panel = CASES

    model: str = option(
        "--model NAME|FILE",
        "The model: llama-3.1-8b, llama-3.1-70b, llama-3.1-405b, small (42 million parameters, "
        "for CPU ranks), or a TOML file with keys of its config.json.",
        default="small",
    )
    batch: str = option(
        "--batch LIST",
        "Sequences in a batch: each gets one token per step. Several batches are measured in turn.",
        default="1,8,32",
    )
    context: int = option("--context N", "Tokens of each sequence in the KV cache.", default=512)
    compute: str = option(
        "--compute stream|gemm|none",
        "Work between all-reduces. stream: read as many bytes as the rank's weights and KV cache "
        "have, from memory that no cache holds. gemm: multiply matrices of the layer's sizes, and "
        "read the KV cache. none: no work.",
        default="stream",
    )
    one_graph: bool = option(
        "--graph/--no-graph",
        "GPU: a whole step is one CUDA graph, or queued launches.",
        default=True,
    )
    warmup: int = option("-w, --warmup N", "Untimed steps per batch.", default=3)
    iters: int | None = option(
        "-n, --iters N", "Timed steps per batch. [100, up to 500 where they are correlated]"
    )
    buffers: str = option(
        "--buffers symmetric|private",
        "Memory of the all-reduces, as for sweep.",
        default="symmetric",
    )
    protocol: str = option(
        "--protocol auto|signal|packet", "Protocol of NVRAR, as for sweep.", default="auto"
    )


RunOptions: TypeAlias = SweepOptions | CheckOptions | TuneOptions | DecodeOptions


@dataclass(frozen=True, kw_only=True)
class ReportJsonOption:
    """Where the record is written anew."""

    json: Path | None = option(
        "--json PATH|-",
        "Write the record with its new figures here; - is standard output, without the table. For "
        "one run.",
        parser=place,
    )


@dataclass(frozen=True, kw_only=True)
class ReportOptions(run.TableOptions, run.OneStateOption, ReportJsonOption):
    """Options of `report`."""

    run: list[Path] = argument(
        "RUN.json...", "Run records, as sweep --json writes them; - is standard input."
    )
    form: str = option(
        "--format table|csv|openmetrics|html",
        "table: as sweep shows it. csv: a row per result. openmetrics: metrics of one run, for "
        "Prometheus. html: one page with charts.",
        default="table",
    )
    output: Path | None = option(
        "--output PATH|-",
        "Write the report here; after an error nothing is written. [standard output]",
        parser=place,
    )
    samples: bool = flag("--samples", "With --format csv: a row per sample, for pandas or R.")
    summary: bool = flag("--summary", "Show only what passed and failed, as check does.")
