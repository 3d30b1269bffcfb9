"""The options of `report`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from nvrar_bench.settings.run_options import OneStateOption, TableOptions
from nvrar_bench.settings.values import place


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
