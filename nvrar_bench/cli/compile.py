"""`nvrar-bench compile`: builds every kernel for given architectures; no GPU and no driver."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nvrar_bench.settings import values
from nvrar_bench.settings.option import flag, option, place

_CHOICES = ("fabric", "protocol", "dtype", "op", "threads", "exchange", "ranks_per_node")


@dataclass(frozen=True, kw_only=True)
class CompileOptions:
    """Options of `compile`."""

    arch: str | None = option(
        "--arch LIST", "GPU architectures, separated by commas. [sm_80,sm_90,sm_100,sm_120]"
    )
    fabric: str | None = option("--fabric LIST", "nvshmem, loopback, or all. [all]")
    dtype: str | None = option(
        "--dtype LIST", "Element types, or all. [float32,bfloat16,float8_e4m3,int64]"
    )
    op: str | None = option("--op LIST", "sum prod min max avg, or all. [sum,avg]")
    protocol: str | None = option("--protocol LIST", "signal, packet, or all. [all]")
    threads: str | None = option(
        "--threads LIST", "Kernels for 256 or 512 threads per multiprocessor, or all. [all]"
    )
    exchange: str | None = option("--exchange LIST", "doubling, halving, or all. [doubling]")
    ranks_per_node: str | None = option(
        "--ranks-per-node LIST",
        "1, 2, 4, 8: kernels for exactly so many, which exist for sums of float32, float16 and "
        "bfloat16; any: the general kernels; or all. [all]",
    )
    everything: bool = flag(
        "--all", "Build for all values of the options that are not given, except --arch."
    )
    json: Path | None = option(
        "--json PATH|-", "Write the table as JSON; - is stdout.", parser=place
    )


def compile_kernels(options: CompileOptions) -> None:
    """Build the kernels for GPUs, and show what each uses.

    Shows registers, spills, memory and seconds of each. Later runs find the kernels in the cache.
    Needs no GPU, no driver and no mpirun.
    """
    # Imported on use, so that --help does not wait for NumPy.
    from nvrar_bench.cli.places import require_places
    from nvrar_bench.documents.files import STDOUT, write_text
    from nvrar_bench.launch.console import console
    from nvrar_bench.report import compiled
    from nvrar_bench.report.progress import CaseProgress
    from nvrar_bench.toolchain import cuda, product

    names = {name: values.names(getattr(options, name)) for name in _CHOICES}
    kernels = product.choose_kernels(names, options.everything)
    require_places([("--json", options.json)])
    compiler = cuda.versions(kernels)
    architectures = product.choose_architectures(values.names(options.arch))
    orders = product.orders(architectures, kernels)
    with CaseProgress(len(orders), console("stderr")) as progress:
        built = product.build_all(orders, lambda order: progress.begin(order.name))
    write_text(options.json, compiled.encode(compiler, built), "--json")
    if options.json != STDOUT:
        compiled.write_table(compiler, built, console("stdout"))
