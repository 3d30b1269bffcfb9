"""`nvrar-bench report`: a stored run once more, its figures computed anew from its samples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN.json...",
            help="Each run: a record, as sweep --json writes it; - is standard input.",
        ),
    ],
    json: Annotated[
        Path | None,
        typer.Option(
            "--json",
            metavar="PATH|-",
            help="Write the record with its new figures here; - is standard output, alone. For "
            "one run.",
        ),
    ] = None,
    summary: Annotated[
        bool,
        typer.Option("--summary", help="What passed and failed, as check shows it; no figures."),
    ] = False,
) -> None:
    """Compute all figures of stored runs anew from their samples, and show the table again.

    Starts no rank and needs no MPI.
    """
    from nvrar_bench.cli.console import console
    from nvrar_bench.cli.options import require
    from nvrar_bench.cli.reading import replayed
    from nvrar_bench.report import summary as in_short
    from nvrar_bench.report import table
    from nvrar_bench.results.files import STDOUT, require_writable, write_text
    from nvrar_bench.results.writer import encode

    require(json is None or len(run) == 1, "--json", f"with {len(run)} runs", "one run")
    require_writable(json, "--json")
    records = [replayed(path) for path in run]
    for record in records:
        write_text(json, encode(record), "--json")
        if json != STDOUT:
            (in_short if summary else table).write(record, console("stdout"))
