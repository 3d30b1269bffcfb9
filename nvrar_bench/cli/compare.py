"""`nvrar-bench compare`: a verdict on every point of one run against another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nvrar_bench.settings import values


def compare(
    base: Annotated[
        Path,
        typer.Argument(
            metavar="BASE.json",
            help="The base: the record, as sweep --json writes it, that others are compared with.",
        ),
    ],
    new: Annotated[
        list[Path],
        typer.Argument(metavar="NEW.json...", help="Each new run, compared with the base alone."),
    ],
    threshold: Annotated[
        str,
        typer.Option(
            "--threshold",
            metavar="T",
            help="A point is slower where the whole interval of new / base lies above 1 + T, "
            "faster where it lies below 1 / (1 + T), the same where it lies between, else "
            "undecided. 5% or 0.05.",
        ),
    ] = "5%",
    allow_missing: Annotated[
        bool,
        typer.Option(
            "--allow-missing",
            help="Compare the points that both runs have. Without this a missing point ends the "
            "command with exit code 2, after the table.",
        ),
    ] = False,
    launch_spread: Annotated[
        str,
        typer.Option(
            "--launch-spread",
            metavar="S",
            help="How much two launches of the same thing may differ, 30% or 0.3: intervals of "
            "runs with one launch are widened by it. Runs with --launches need no guess.",
        ),
    ] = "30%",
    one_state: Annotated[
        bool,
        typer.Option(
            "--one-state",
            help="Compare only samples that found the machine in a state that both runs met, as "
            "shown by a yardstick between calls. [the samples of the runs' own medians]",
        ),
    ] = False,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="An undecided point ends with exit code 6, too. The last line says how many "
            "launches would decide.",
        ),
    ] = False,
    json: Annotated[
        Path | None,
        typer.Option(
            "--json",
            metavar="PATH|-",
            parser=values.place,
            help="Write the comparison here, as schema comparison describes it; - is standard "
            "output, alone.",
        ),
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option(
            "--markdown",
            metavar="PATH|-",
            parser=values.place,
            help="Write the comparison here for a pull request; - is standard output, alone.",
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            "--seed",
            metavar="N",
            parser=values.whole,
            help="Seed of the bootstrap. The same runs and seed give the same intervals.",
        ),
    ] = 0,
) -> None:
    """Compare stored runs: slower, faster, the same, or undecided.

    Each point has a verdict. Exit code 6 if any point is slower, or with --strict undecided; 3 if a
    result is wrong; 2 if runs cannot be compared. Starts no rank and needs no MPI.
    """
    # Imported on use, so that --help does not wait for NumPy.
    from nvrar_bench.cli.places import require_places
    from nvrar_bench.documents import comparison as document
    from nvrar_bench.documents.files import STDOUT, write_text
    from nvrar_bench.documents.run_file import read_record
    from nvrar_bench.launch.console import console
    from nvrar_bench.report import comparison as table
    from nvrar_bench.statistics import comparison
    from nvrar_bench.statistics.verdicts import Terms

    limit = values.part("--threshold", threshold)
    terms = Terms(limit, values.part("--launch-spread", launch_spread), one_state)
    values.require(0 <= seed < 2**63, "--seed", seed, "0 to 2**63 - 1")
    reads = [("BASE.json", base), *(("NEW.json", path) for path in new)]
    require_places([("--json", json), ("--markdown", markdown)], reads)
    runs = [(str(path), read_record(path)) for path in (base, *new)]
    found = comparison.compare(runs[0], runs[1:], terms, seed)
    write_text(json, document.encode(found), "--json")
    write_text(markdown, table.encode(found), "--markdown")
    if STDOUT not in (json, markdown):
        table.write(found, console("stdout"))
    error = comparison.outcome(found, allow_missing, strict)
    if error is not None:
        raise error
