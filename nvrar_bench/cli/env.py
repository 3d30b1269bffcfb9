"""`nvrar-bench env`: what is installed, what is missing, and what fixes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nvrar_bench.settings import values
from nvrar_bench.settings.option import option, place


@dataclass(frozen=True, kw_only=True)
class EnvOptions:
    """Options of `env`."""

    device: str = option(
        "--device auto|cpu|cuda",
        "Exit with code 5 and the reason if this device cannot run here.",
        default="auto",
    )
    backend: str | None = option(
        "--backend LIST",
        "Exit with code 5 and the reason if one of these backends, separated by commas, cannot "
        "run here, on the device that a run would take.",
    )
    network: str | None = option(
        "--network NAME|FILE",
        "Show what this network needs (slingshot, infiniband, roce, tcp, a file, or auto, the one "
        "found); exit with code 5 and the fix if something is missing.",
    )
    json: Path | None = option(
        "--json PATH|-",
        "Write the table as JSON; - is standard output, alone.",
        parser=place,
    )


def env(options: EnvOptions) -> None:
    """List what is installed, what is missing, and how to fix it.

    Starts no rank, does not initialise MPI, and needs neither a GPU nor a driver.
    """
    # Imported on use, so that --help does not wait for NumPy.
    from nvrar_bench import backends, devices
    from nvrar_bench.cli.execute import network as network_of
    from nvrar_bench.cli.places import require_places, run_reads
    from nvrar_bench.documents import encode
    from nvrar_bench.documents.files import STDOUT, write_text
    from nvrar_bench.inventory import require, require_network, survey
    from nvrar_bench.inventory.survey import steps
    from nvrar_bench.launch.console import console
    from nvrar_bench.report import inventory as table
    from nvrar_bench.report.progress import CaseProgress

    wanted, network, json = values.names(options.backend), options.network, options.json
    devices.require_known(options.device)
    backends.require_known(wanted)
    require_places([("--json", json)], run_reads(None, None, network))
    asked = None if network is None else network_of(network)
    with CaseProgress(len(steps(asked)), console("stderr")) as progress:
        found = survey.take(progress.begin, asked)
    write_text(json, encode(found), "--json")
    if json != STDOUT:
        table.write(found, console("stdout"))
    require(found, options.device, wanted)
    if asked:
        require_network(found, asked.name)
