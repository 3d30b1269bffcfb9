"""`nvrar-bench env`: what is installed, what is missing, and what fixes it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nvrar_bench.settings import values


def env(
    device: Annotated[
        str,
        typer.Option(
            "--device",
            metavar="auto|cpu|cuda",
            help="Exit with code 5 and the reason if this device cannot run here.",
        ),
    ] = "auto",
    backend: Annotated[
        str | None,
        typer.Option(
            "--backend",
            metavar="LIST",
            help="Exit with code 5 and the reason if one of these backends, separated by commas, "
            "cannot run here, on the device that a run would take.",
        ),
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(
            "--network",
            metavar="NAME|FILE",
            help="Show what this network needs (slingshot, infiniband, roce, tcp, a file, or "
            "auto, the one found); exit with code 5 and the fix if something is missing.",
        ),
    ] = None,
    json: Annotated[
        Path | None,
        typer.Option(
            "--json",
            metavar="PATH|-",
            parser=values.place,
            help="Write the table as JSON; - is standard output, alone.",
        ),
    ] = None,
) -> None:
    """List what is installed, what is missing, and how to fix it.

    Starts no rank, does not initialise MPI, and needs neither a GPU nor a driver.
    """
    # Imported on use, so that --help does not wait for NumPy.
    from nvrar_bench import backends, devices
    from nvrar_bench.cli.network import chosen
    from nvrar_bench.cli.places import require_places, run_reads
    from nvrar_bench.documents.files import STDOUT, write_text
    from nvrar_bench.documents.inventory import encode
    from nvrar_bench.inventory import survey
    from nvrar_bench.inventory.abilities import require, require_network
    from nvrar_bench.inventory.survey import steps
    from nvrar_bench.launch.console import console
    from nvrar_bench.report import inventory as table
    from nvrar_bench.report.progress import CaseProgress

    wanted = values.names(backend)
    devices.require_known(device)
    backends.require_known(wanted)
    require_places([("--json", json)], run_reads(None, None, network))
    asked = None if network is None else chosen(network)
    with CaseProgress(len(steps(asked)), console("stderr")) as progress:
        found = survey.take(progress.begin, asked)
    write_text(json, encode(found), "--json")
    if json != STDOUT:
        table.write(found, console("stdout"))
    require(found, device, wanted)
    if asked:
        require_network(found, asked.name)
