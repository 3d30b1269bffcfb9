"""All options of the commands that run ranks, and those of `report`.

Groups of options that commands share are declared once, in measure_options.py and run_options.py. A
command's options are one frozen dataclass that inherits its groups, in the order of --help, and
cli/app.py makes a parameter for Typer of each field. A short flag that nccl-tests has too means
the same here, except -G; its long names are accepted beside ours. The options that we lack are in
cli/nccl_tests.py. Importing this loads neither NumPy nor MPI: --help needs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from nvrar_bench.settings.measure_options import (
    BackendOption,
    CaseFileOption,
    CaseOptions,
    CheckingOptions,
    CheckModeOption,
    CountOptions,
    DeviceOption,
    LateOption,
    PrecisionOptions,
    SearchOptions,
    SizeOptions,
    StepOptions,
)
from nvrar_bench.settings.run_options import (
    BatchOption,
    FabricOptions,
    FirstEpochOption,
    GraphOptions,
    JsonOption,
    LaunchesOptions,
    LimitOptions,
    OneStateOption,
    RankOptions,
    ShapeOptions,
    ShareGpuOption,
    TableOptions,
)
from nvrar_bench.settings.values import place


@dataclass(frozen=True, kw_only=True)
class SweepOptions(
    SizeOptions,
    CaseFileOption,
    BackendOption,
    DeviceOption,
    CaseOptions,
    CountOptions,
    PrecisionOptions,
    LateOption,
    CheckingOptions,
    CheckModeOption,
    FabricOptions,
    ShapeOptions,
    BatchOption,
    GraphOptions,
    ShareGpuOption,
    FirstEpochOption,
    RankOptions,
    LaunchesOptions,
    OneStateOption,
    JsonOption,
    TableOptions,
    LimitOptions,
):
    """Options of `sweep`."""


@dataclass(frozen=True, kw_only=True)
class CheckOptions(
    CheckModeOption,
    BackendOption,
    DeviceOption,
    FabricOptions,
    ShapeOptions,
    ShareGpuOption,
    FirstEpochOption,
    RankOptions,
    JsonOption,
    LimitOptions,
):
    """Options of `check`, which has a case file by default."""

    case: Annotated[
        str | None,
        typer.Option(
            "--case",
            metavar="FILE",
            help="A case file (TOML), or one of smoke, correctness, paper, decode. [correctness]",
        ),
    ] = None
    soak: Annotated[
        str | None,
        typer.Option(
            "--soak",
            metavar="CALLS|DURATION",
            help="Random calls in place of a case file, each verified: this many, or for 90s, "
            "10m, 2h.",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class TuneOptions(
    SizeOptions,
    SearchOptions,
    DeviceOption,
    FabricOptions,
    BatchOption,
    ShareGpuOption,
    RankOptions,
    JsonOption,
    LimitOptions,
):
    """Options of `tune`."""

    output: Annotated[
        Path,
        typer.Option(
            "--output", metavar="PATH", parser=place, help="Write the table here, after every size."
        ),
    ]


@dataclass(frozen=True, kw_only=True)
class DecodeOptions(
    StepOptions,
    BackendOption,
    DeviceOption,
    PrecisionOptions,
    LateOption,
    CheckingOptions,
    FabricOptions,
    ShapeOptions,
    ShareGpuOption,
    FirstEpochOption,
    RankOptions,
    JsonOption,
    LimitOptions,
):
    """Options of `decode`."""


RunOptions: TypeAlias = SweepOptions | CheckOptions | TuneOptions | DecodeOptions


@dataclass(frozen=True, kw_only=True)
class ReportJsonOption:
    """Where the record is written anew."""

    json: Annotated[
        Path | None,
        typer.Option(
            "--json",
            metavar="PATH|-",
            parser=place,
            help="Write the record with its new figures here; - is standard output, without the "
            "table. For one run.",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class ReportOptions(TableOptions, OneStateOption, ReportJsonOption):
    """Options of `report`."""

    run: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN.json...",
            help="Each run: a record, as sweep --json writes it; - is standard input.",
        ),
    ]
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="table|csv|openmetrics|html",
            help="table: as sweep shows it. csv: a row per result. openmetrics: metrics of one "
            "run, for Prometheus. html: one page with charts.",
        ),
    ] = "table"
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            metavar="PATH|-",
            parser=place,
            help="Write the report here, all of it or nothing. [standard output]",
        ),
    ] = None
    samples: Annotated[
        bool,
        typer.Option("--samples", help="With --format csv: a row per sample, for pandas or R."),
    ] = False
    summary: Annotated[
        bool,
        typer.Option("--summary", help="Only what passed and failed, as check shows it."),
    ] = False
