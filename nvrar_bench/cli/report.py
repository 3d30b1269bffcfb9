"""`nvrar-bench report`: a stored run once more, its figures computed anew from its samples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nvrar_bench.settings import options


def report(
    run: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN.json...",
            help="Each run: a record, as sweep --json writes it; - is standard input.",
        ),
    ],
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="table|csv|openmetrics|html",
            help="table: as sweep shows it. csv: a row per result, for spreadsheets. openmetrics: "
            "for Prometheus; of one run. html: a page with charts, complete in itself.",
        ),
    ] = "table",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            metavar="PATH|-",
            parser=options.place,
            help="Write the report here, whole or not at all. [-: standard output]",
        ),
    ] = None,
    samples: Annotated[
        bool,
        typer.Option("--samples", help="With --format csv: a row per sample, for pandas or R."),
    ] = False,
    summary: Annotated[
        bool,
        typer.Option("--summary", help="What passed and failed, as check shows it; no figures."),
    ] = False,
    wide: options.Wide = False,
    verbose: options.Verbose = False,
    one_state: options.OneState = False,
    json: Annotated[
        Path | None,
        typer.Option(
            "--json",
            metavar="PATH|-",
            parser=options.place,
            help="Write the record with its new figures here; - is standard output, without the "
            "table. For one run.",
        ),
    ] = None,
) -> None:
    """Compute all figures of stored runs anew from their samples, and show them in any form.

    Starts no rank and needs no MPI.
    """
    from nvrar_bench.cli.reading import replayed
    from nvrar_bench.cli.reporting import Wanted

    given = {"--samples": samples, "--summary": summary, "--wide": wide, "--verbose": verbose}
    variants = [option for option, is_given in given.items() if is_given]
    wanted = Wanted(run, form, variants, output, json)
    wanted.require_sense()
    wanted.write([replayed(path, one_state) for path in run])
