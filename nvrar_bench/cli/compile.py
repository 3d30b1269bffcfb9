"""`nvrar-bench compile`: builds every kernel for given architectures; no GPU and no driver."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nvrar_bench.settings import values


def compile_kernels(
    arch: Annotated[
        str | None,
        typer.Option(
            "--arch",
            metavar="LIST",
            help="GPU architectures, separated by commas. [sm_80,sm_90,sm_100,sm_120]",
        ),
    ] = None,
    fabric: Annotated[
        str | None,
        typer.Option("--fabric", metavar="LIST", help="nvshmem, loopback, or all. [all]"),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            "--dtype",
            metavar="LIST",
            help="Element types, or all. [float32,bfloat16,float8_e4m3,int64]",
        ),
    ] = None,
    op: Annotated[
        str | None,
        typer.Option("--op", metavar="LIST", help="sum prod min max avg, or all. [sum,avg]"),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option("--protocol", metavar="LIST", help="signal, packet, or all. [all]"),
    ] = None,
    threads: Annotated[
        str | None,
        typer.Option(
            "--threads",
            metavar="LIST",
            help="Launch classes: threads of a multiprocessor, 256, 512, or all. [all]",
        ),
    ] = None,
    exchange: Annotated[
        str | None,
        typer.Option("--exchange", metavar="LIST", help="doubling, halving, or all. [doubling]"),
    ] = None,
    everything: Annotated[
        bool,
        typer.Option("--all", help="All values of the options that are not given, except --arch."),
    ] = False,
    json: Annotated[
        Path | None,
        typer.Option(
            "--json",
            metavar="PATH|-",
            parser=values.place,
            help="Write the table as JSON; - is stdout.",
        ),
    ] = None,
) -> None:
    """Build the kernels for GPUs, and show what each uses.

    Shows registers, spills, memory and seconds. A run then finds all that it needs in the cache,
    also what makes and checks elements of these types. Needs no GPU, no driver and no mpirun.
    """
    # Imported on use, so that --help does not wait for NumPy.
    from nvrar_bench.cli.places import require_places
    from nvrar_bench.documents.files import STDOUT, write_text
    from nvrar_bench.launch.console import console
    from nvrar_bench.report import compiled
    from nvrar_bench.report.progress import CaseProgress
    from nvrar_bench.toolchain import cuda, product

    wanted = {
        "fabric": fabric,
        "protocol": protocol,
        "dtype": dtype,
        "op": op,
        "threads": threads,
        "exchange": exchange,
    }
    names = {option: values.names(text) for option, text in wanted.items()}
    kernels = product.choose_kernels(names, everything)
    require_places([("--json", json)])
    compiler = cuda.versions(kernels)
    architectures = product.choose_architectures(values.names(arch))
    orders = product.orders(architectures, kernels)
    with CaseProgress(len(orders), console("stderr")) as progress:
        built = product.build_all(orders, lambda order: progress.begin(order.name))
    report = compiled.Report(compiler, tuple(built))
    write_text(json, compiled.encode(report), "--json")
    if json != STDOUT:
        compiled.write_table(report, console("stdout"))
