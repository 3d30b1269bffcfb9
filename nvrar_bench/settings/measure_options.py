"""Options that say what is measured, with what, and for how long. See options.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from nvrar_bench.settings.values import (
    list_option,
    number,
    seconds_option,
    size_option,
    whole_option,
)


@dataclass(frozen=True, kw_only=True)
class SizeOptions:
    """Message sizes: a range, or a list."""

    min: Annotated[
        str | None, size_option("-b", "--min", "--minbytes", help="Smallest size. [128K]")
    ] = None
    max: Annotated[
        str | None, size_option("-e", "--max", "--maxbytes", help="Largest size. [2M]")
    ] = None
    factor: Annotated[
        float | None,
        typer.Option(
            "-f",
            "--factor",
            "--stepfactor",
            metavar="X",
            parser=number,
            help="Sizes grow by this factor. [2]",
        ),
    ] = None
    step: Annotated[
        str | None, size_option("-i", "--step", "--stepbytes", help="Sizes grow by this step.")
    ] = None
    sizes: Annotated[str | None, list_option("--sizes", help="These sizes instead of a range.")] = (
        None
    )


@dataclass(frozen=True, kw_only=True)
class CaseFileOption:
    """What to run, from a file."""

    case: Annotated[
        str | None,
        typer.Option(
            "--case",
            metavar="FILE",
            help="A case file (TOML), or the name of one that comes with the package, in place "
            "of sizes and types.",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class BackendOption:
    """The libraries that are measured."""

    backend: Annotated[
        str | None,
        list_option(
            "--backend",
            help="Backends, separated by commas: nccl, mpi, nvrar, fake. A backend named here "
            "that is not available ends the run with exit code 5. [all available ones]",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class DeviceOption:
    """The processors that run it."""

    device: Annotated[
        str, typer.Option("--device", metavar="auto|cpu|cuda", help="Where to run.")
    ] = "auto"


@dataclass(frozen=True, kw_only=True)
class CaseOptions:
    """What each size is measured with: every combination."""

    dtype: Annotated[
        str | None,
        list_option(
            "-d",
            "--dtype",
            "--datatype",
            help="float64 float32 float16 bfloat16 float8_e4m3 float8_e5m2 int8 uint8 int32 "
            "uint32 int64 uint64, or all; also double, float, half, f8e4m3, f8e5m2. [float32]",
        ),
    ] = None
    op: Annotated[
        str | None, list_option("-o", "--op", help="sum prod min max avg, or all. [sum]")
    ] = None
    in_place: Annotated[
        bool | None,
        typer.Option("--in-place/--out-of-place", help="Output in the input's buffer, or not."),
    ] = None
    buffers: Annotated[
        str | None,
        list_option(
            "--buffers",
            help="symmetric (mapped by peers ahead) or private (plain memory, copies counted). "
            "[symmetric]",
        ),
    ] = None
    protocol: Annotated[
        str | None,
        list_option("--protocol", help="Protocol of NVRAR: auto, signal, packet. [auto]"),
    ] = None


@dataclass(frozen=True, kw_only=True)
class CountOptions:
    """How many calls each point has."""

    warmup: Annotated[
        int, whole_option("-w", "--warmup", "--warmup_iters", help="Untimed calls per case.")
    ] = 20
    iters: Annotated[
        int | None,
        whole_option(
            "-n",
            "--iters",
            help="Samples per case. [200, up to 1000 where they resemble each other]",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class PrecisionOptions:
    """How well each point is to be known, and how calls start."""

    precision: Annotated[
        str | None,
        typer.Option(
            "--precision",
            metavar="PERCENT",
            help="Instead of --iters: measure until half of the median's 95 % interval is this "
            "part of the median: 1% or 0.01.",
        ),
    ] = None
    min_samples: Annotated[
        int | None,
        whole_option("--min-samples", help="With --precision: at least this many samples. [100]"),
    ] = None
    max_samples: Annotated[
        int | None,
        whole_option("--max-samples", help="With --precision: at most this many samples. [100000]"),
    ] = None
    max_time: Annotated[
        float | None,
        seconds_option(
            "--max-time",
            help="With --precision: at most this long for one backend at one size. [5]",
        ),
    ] = None
    start: Annotated[
        str,
        typer.Option(
            "--start",
            metavar="auto|clock|barrier",
            help="How ranks start a call together: clock at an agreed time, barrier when all "
            "have come. auto is clock, or barrier where ranks share cores.",
        ),
    ] = "auto"


@dataclass(frozen=True, kw_only=True)
class LateOption:
    """A rank that is late on purpose."""

    late: Annotated[
        str | None,
        typer.Option(
            "--late",
            metavar="RANK=TIME",
            help="Let this rank begin each call, or step, so much later than the others, such as "
            "1=50us: figures then include the others' wait for it. [none is late]",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class StepOptions:
    """What a decode step is of, and how often it is run."""

    model: Annotated[
        str,
        typer.Option(
            "--model",
            metavar="NAME|FILE",
            help="The model: llama-3.1-8b, llama-3.1-70b, llama-3.1-405b, small (42 million "
            "parameters, for CPU ranks), or a TOML file with keys of its config.json.",
        ),
    ] = "small"
    batch: Annotated[
        str,
        list_option(
            "--batch", help="Sequences in a batch, each of which gets one token; several: in turn."
        ),
    ] = "1,8,32"
    context: Annotated[
        int,
        whole_option("--context", help="Tokens of each sequence that are in the KV cache."),
    ] = 512
    compute: Annotated[
        str,
        typer.Option(
            "--compute",
            metavar="stream|gemm|none",
            help="Work between all-reduces. stream: read as many bytes as the rank's weights and "
            "KV cache have, from memory that no cache holds. gemm: multiply matrices of the "
            "layer's sizes, and read the KV cache. none: no work.",
        ),
    ] = "stream"
    one_graph: Annotated[
        bool,
        typer.Option(
            "--graph/--no-graph", help="GPU: a whole step is one CUDA graph, or queued launches."
        ),
    ] = True
    warmup: Annotated[int, whole_option("-w", "--warmup", help="Untimed steps per batch.")] = 3
    iters: Annotated[
        int | None,
        whole_option(
            "-n",
            "--iters",
            help="Timed steps per batch. [100, up to 500 where they resemble each other]",
        ),
    ] = None
    buffers: Annotated[
        str,
        typer.Option(
            "--buffers", metavar="symmetric|private", help="Of the all-reduces, as for sweep."
        ),
    ] = "symmetric"
    protocol: Annotated[
        str,
        typer.Option(
            "--protocol", metavar="auto|signal|packet", help="Protocol of NVRAR, as for sweep."
        ),
    ] = "auto"


@dataclass(frozen=True, kw_only=True)
class CheckingOptions:
    """Whether the buffers that are timed are verified."""

    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Verify the buffers that are timed.")
    ] = True
    check_flag: Annotated[
        str | None,
        typer.Option("-c", metavar="0|1", help="As in nccl-tests: 0 is --no-check, 1 is --check."),
    ] = None


@dataclass(frozen=True, kw_only=True)
class CheckModeOption:
    """The inputs that results are verified with."""

    check_mode: Annotated[
        str | None,
        list_option(
            "--check-mode",
            help="exact (results known to the bit), rounding (random data, a bound), or wrap "
            "(integer sums and products that overflow, modulo 2^bits). MPI and NCCL do not "
            "define overflow and run wrap only if this option names it.",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """What `tune` tries, and for how long."""

    dtype: Annotated[
        str | None, list_option("-d", "--dtype", help="Element types, as for sweep. [float32]")
    ] = None
    op: Annotated[
        str | None, list_option("-o", "--op", help="sum prod min max avg, or all. [sum]")
    ] = None
    buffers: Annotated[
        str | None, list_option("--buffers", help="symmetric or private, or both. [symmetric]")
    ] = None
    protocol: Annotated[
        str | None, list_option("--protocol", help="Protocols to try: signal, packet. [both]")
    ] = None
    blocks: Annotated[
        str | None,
        list_option(
            "--blocks", help="Numbers of blocks to try, of each rank. [powers of two, by size]"
        ),
    ] = None
    threads: Annotated[
        str | None,
        list_option(
            "--threads", help="Numbers of threads to try, of each block. [powers of two, by size]"
        ),
    ] = None
    chunk: Annotated[
        str | None,
        list_option("--chunk", help="Chunks to try, as for sweep. [powers of two, by size]"),
    ] = None
    radix: Annotated[
        str | None,
        list_option("--radix", help="Radices to try, as for sweep. [2, and all nodes up to 16]"),
    ] = None
    exchange: Annotated[
        str | None,
        list_option(
            "--exchange", help="Exchanges to try. [doubling; between 3 nodes and more also halving]"
        ),
    ] = None
    max_time: Annotated[
        float,
        seconds_option(
            "--max-time", help="Start no further round of candidates at one size after this."
        ),
    ] = 60.0
    backend: Annotated[
        str,
        typer.Option("--backend", metavar="nvrar|fake", help="What to tune; fake is for tests."),
    ] = "nvrar"
