"""`nvrar-bench sweep`: the benchmark."""

from __future__ import annotations

from typing import Annotated

import typer

from nvrar_bench.cli.execute import execute
from nvrar_bench.cli.shown import Shown
from nvrar_bench.settings import options


def sweep(
    minimum: options.Minimum = None,
    maximum: options.Maximum = None,
    factor: options.Factor = None,
    step: options.Step = None,
    sizes: options.Sizes = None,
    case: Annotated[
        str | None,
        typer.Option(
            "--case",
            metavar="FILE",
            help="A case file (TOML) or the name of a shipped one, instead of the options that "
            "say what to run.",
        ),
    ] = None,
    backend: options.Backends = None,
    device: options.Device = "auto",
    dtype: Annotated[
        str | None,
        typer.Option(
            "-d",
            "--dtype",
            "--datatype",
            metavar="LIST",
            help="float64 float32 float16 bfloat16 float8_e4m3 float8_e5m2 int8 uint8 int32 uint32 "
            "int64 uint64, or all; also double, float, half, f8e4m3, f8e5m2. [float32]",
        ),
    ] = None,
    op: Annotated[
        str | None,
        typer.Option("-o", "--op", metavar="LIST", help="sum prod min max avg, or all. [sum]"),
    ] = None,
    in_place: Annotated[
        bool | None,
        typer.Option("--in-place/--out-of-place", help="Output in the input's buffer, or not."),
    ] = None,
    buffers: Annotated[
        str | None,
        typer.Option(
            "--buffers",
            metavar="LIST",
            help="symmetric (shared with peers ahead) or private (plain memory). [symmetric]",
        ),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option("--protocol", metavar="LIST", help="NVRAR's: auto, signal, packet. [auto]"),
    ] = None,
    warmup: Annotated[
        int,
        typer.Option(
            "-w",
            "--warmup",
            "--warmup_iters",
            metavar="N",
            parser=options.whole,
            help="Untimed calls per case.",
        ),
    ] = 20,
    iters: Annotated[
        int | None,
        typer.Option(
            "-n",
            "--iters",
            metavar="N",
            parser=options.whole,
            help="Samples per case. [200, and up to 1000 where they are alike]",
        ),
    ] = None,
    precision: options.Precision = None,
    min_samples: options.MinSamples = None,
    max_samples: options.MaxSamples = None,
    max_time: options.MaxTime = None,
    start: options.Start = "auto",
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Verify the buffers that are timed.")
    ] = True,
    check_flag: Annotated[
        str | None,
        typer.Option("-c", metavar="0|1", help="As in nccl-tests: 0 is --no-check, 1 is --check."),
    ] = None,
    check_mode: options.CheckMode = None,
    fabric: options.Fabric = "auto",
    virtual_ranks: options.VirtualRanks = None,
    blocks: options.Blocks = None,
    threads: options.Threads = None,
    chunk: options.Chunk = None,
    radix: options.Radix = None,
    tuning: options.Tuning = None,
    batch: options.Batch = None,
    graph: options.Graph = 1,
    cold_cache: options.ColdCache = False,
    share_gpu: options.ShareGpu = False,
    first_epoch: options.FirstEpoch = 1,
    nodes: options.Nodes = None,
    mapped_nodes: options.MappedNodes = False,
    ranks: options.Ranks = None,
    launcher: options.Launcher = None,
    network: options.Network = None,
    launches: options.Launches = 1,
    max_launches: options.MaxLaunches = None,
    one_state: options.OneState = False,
    json: options.Json = None,
    wide: options.Wide = False,
    verbose: options.Verbose = False,
    timeout: options.Timeout = 60.0,
    seed: options.Seed = 0,
) -> None:
    """Measure all-reduce over a range of message sizes: latency, bandwidth, correctness.

    Sizes are bytes per rank; K, M, G and T are powers of 1024.
    """
    from nvrar_bench.cli.launching import Launching
    from nvrar_bench.cli.nccl_tests import checked
    from nvrar_bench.cli.places import run_reads
    from nvrar_bench.cli.stopping import StopAt
    from nvrar_bench.settings.planning import Wish, settings_of

    launching = Launching(
        fabric,
        virtual_ranks,
        blocks,
        threads,
        chunk,
        radix,
        batch,
        graph,
        cold_cache,
        share_gpu,
        first_epoch,
        tuning,
        mapped_nodes,
    )
    wish = Wish(
        minimum, maximum, factor, step, sizes, case, dtype, op, in_place, buffers, protocol,
        check_mode,
    )  # fmt: skip
    stop_at = StopAt(iters, precision, min_samples, max_samples, max_time)
    execute(
        lambda: settings_of(
            wish, backends=options.names(backend), device=device, stop_at=stop_at, start=start,
            warmup=warmup, check=checked(check, check_flag), nodes=nodes, timeout=timeout,
            seed=seed, ranks=ranks, launching=launching,
            one_state=one_state or max_launches is not None, network=network,
        ),
        ranks=ranks, launcher=launcher, json=json, shown=Shown("table", wide, verbose),
        launches=launches, max_launches=max_launches, reads=run_reads(case, tuning, network),
    )  # fmt: skip
