"""`nvrar-bench tune`: finds the best launch of NVRAR at each size, for `auto` to use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nvrar_bench.cli.execute import execute
from nvrar_bench.cli.shown import Shown
from nvrar_bench.settings import options

_LIST = "LIST"


def tune(
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            metavar="PATH",
            parser=options.place,
            help="Write the table here, after every size.",
        ),
    ],
    minimum: options.Minimum = None,
    maximum: options.Maximum = None,
    factor: options.Factor = None,
    step: options.Step = None,
    sizes: options.Sizes = None,
    dtype: Annotated[
        str | None,
        typer.Option("-d", "--dtype", metavar=_LIST, help="Types, as of sweep. [float32]"),
    ] = None,
    op: Annotated[
        str | None,
        typer.Option("-o", "--op", metavar=_LIST, help="sum prod min max avg, or all. [sum]"),
    ] = None,
    buffers: Annotated[
        str | None,
        typer.Option("--buffers", metavar=_LIST, help="symmetric or private, or both. [symmetric]"),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option("--protocol", metavar=_LIST, help="To try: signal, packet. [both]"),
    ] = None,
    blocks: Annotated[
        str | None,
        typer.Option(
            "--blocks", metavar=_LIST, help="To try, of each rank. [powers of two, by size]"
        ),
    ] = None,
    threads: Annotated[
        str | None,
        typer.Option(
            "--threads", metavar=_LIST, help="To try, of each block. [powers of two, by size]"
        ),
    ] = None,
    chunk: Annotated[
        str | None,
        typer.Option(
            "--chunk", metavar=_LIST, help="To try, as of sweep. [powers of two, by size]"
        ),
    ] = None,
    radix: Annotated[
        str | None,
        typer.Option(
            "--radix", metavar=_LIST, help="To try, as of sweep. [2, and all nodes up to 16]"
        ),
    ] = None,
    max_time: Annotated[
        float,
        typer.Option(
            "--max-time",
            metavar="SECONDS",
            parser=options.number,
            help="No further round of launches at one size begins after this.",
        ),
    ] = 60.0,
    backend: Annotated[
        str,
        typer.Option("--backend", metavar="nvrar|fake", help="What to tune; fake is for tests."),
    ] = "nvrar",
    device: options.Device = "auto",
    fabric: options.Fabric = "auto",
    virtual_ranks: options.VirtualRanks = None,
    batch: options.Batch = None,
    share_gpu: options.ShareGpu = False,
    nodes: options.Nodes = None,
    mapped_nodes: options.MappedNodes = False,
    ranks: options.Ranks = None,
    launcher: options.Launcher = None,
    network: options.Network = None,
    json: options.Json = None,
    timeout: options.Timeout = 60.0,
    seed: options.Seed = 0,
) -> None:
    """Find NVRAR's fastest launch at each size, and write a table that sweep --tuning follows.

    Launches are measured as sweep measures, in rounds, until the slower ones have dropped out; a
    wrong result ends the search with exit code 3.
    """
    from nvrar_bench.cli.launching import Launching
    from nvrar_bench.cli.places import run_reads
    from nvrar_bench.cli.tuning import Search, tune_settings
    from nvrar_bench.settings.planning import Wish

    search = Search(output, json, backend, protocol, blocks, threads, chunk, radix, max_time)
    wish = Wish(minimum, maximum, factor, step, sizes, dtype=dtype, op=op, buffers=buffers)
    launching = Launching(
        fabric, virtual_ranks, batch=batch, share_gpu=share_gpu, mapped_nodes=mapped_nodes
    )
    execute(
        lambda: tune_settings(
            search, wish, launching, device=device, nodes=nodes, ranks=ranks, timeout=timeout,
            seed=seed, network=network,
        ),
        ranks=ranks, launcher=launcher, json=json, shown=Shown("tuning"),
        reads=run_reads(None, None, network), writes=[("--output", output)],
    )  # fmt: skip
