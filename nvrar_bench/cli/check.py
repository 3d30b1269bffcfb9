"""`nvrar-bench check`: correctness only, over a case file."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from nvrar_bench.cli.execute import execute
from nvrar_bench.cli.shown import Shown
from nvrar_bench.settings import options


def check(
    case: Annotated[
        str | None,
        typer.Option(
            "--case",
            metavar="FILE",
            help="A case file (TOML) or a shipped one by name: smoke, correctness, paper, decode. "
            "[correctness]",
        ),
    ] = None,
    soak: Annotated[
        str | None,
        typer.Option(
            "--soak",
            metavar="CALLS|DURATION",
            help="Random calls in place of a case file, each verified: so many, or as long as 90s, "
            "10m, 2h.",
        ),
    ] = None,
    check_mode: options.CheckMode = None,
    backend: options.Backends = None,
    device: options.Device = "auto",
    fabric: options.Fabric = "auto",
    virtual_ranks: options.VirtualRanks = None,
    blocks: options.Blocks = None,
    threads: options.Threads = None,
    chunk: options.Chunk = None,
    radix: options.Radix = None,
    tuning: options.Tuning = None,
    share_gpu: options.ShareGpu = False,
    first_epoch: options.FirstEpoch = 1,
    nodes: options.Nodes = None,
    mapped_nodes: options.MappedNodes = False,
    ranks: options.Ranks = None,
    launcher: options.Launcher = None,
    network: options.Network = None,
    json: options.Json = None,
    timeout: options.Timeout = 60.0,
    seed: options.Seed = 0,
) -> None:
    """Verify every case of a case file on every backend; nothing is reported on speed.

    All cases run, also after a wrong one; exit code 3 if any was wrong.
    """
    from nvrar_bench.cli.launching import Launching
    from nvrar_bench.cli.places import run_reads
    from nvrar_bench.cli.stopping import StopAt
    from nvrar_bench.settings.planning import Wish, checked_by, settings_of, soak_settings
    from nvrar_bench.settings.settings import Settings

    launching = Launching(
        fabric,
        virtual_ranks,
        blocks,
        threads,
        chunk,
        radix,
        share_gpu=share_gpu,
        first_epoch=first_epoch,
        tuning=tuning,
        mapped_nodes=mapped_nodes,
    )

    def settings() -> Settings:
        planned = settings_of(
            Wish(case=case or "correctness"), backends=options.names(backend), device=device,
            stop_at=StopAt(1), warmup=0, check=True, nodes=nodes, timeout=timeout, seed=seed,
            ranks=ranks, launching=launching, network=network,
        )  # fmt: skip
        if soak is not None:
            return soak_settings(planned, soak, case, check_mode)
        planned = checked_by(planned, check_mode)
        short = tuple(replace(sweep, iters=1, warmup=0) for sweep in planned.sweeps)
        return replace(planned, sweeps=short, stop_at_wrong=False, interleave=False, batch=1)

    reads = run_reads(case, tuning, network)
    execute(
        settings, ranks=ranks, launcher=launcher, json=json, shown=Shown("summary"), reads=reads
    )
