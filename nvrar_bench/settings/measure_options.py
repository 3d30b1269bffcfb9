"""Options that say what is measured, with what, and for how long. See options.py."""

from __future__ import annotations

from dataclasses import dataclass

from nvrar_bench.settings.option import CASES, CHECKS, PLACES, SAMPLES, option


@dataclass(frozen=True, kw_only=True)
class SizeOptions:
    """Message sizes: a range, or a list."""

    panel = CASES

    min: str | None = option("-b, --min, --minbytes SIZE", "Smallest size. [128K]")
    max: str | None = option("-e, --max, --maxbytes SIZE", "Largest size. [2M]")
    factor: float | None = option("-f, --factor, --stepfactor X", "Sizes grow by this factor. [2]")
    step: str | None = option("-i, --step, --stepbytes SIZE", "Sizes grow by this step.")
    sizes: str | None = option("--sizes LIST", "These sizes instead of a range.")


@dataclass(frozen=True, kw_only=True)
class CaseFileOption:
    """What to run, from a file."""

    panel = CASES

    case: str | None = option(
        "--case FILE",
        "Run the sweeps of a case file (TOML) instead: a path, or one of smoke, correctness, "
        "paper, decode.",
    )


@dataclass(frozen=True, kw_only=True)
class BackendOption:
    """The libraries that are measured."""

    panel = PLACES

    backend: str | None = option(
        "--backend LIST",
        "Backends, separated by commas: nccl, mpi, nvrar, fake. A backend named here that is not "
        "available ends the run with exit code 5. [all available ones]",
    )


@dataclass(frozen=True, kw_only=True)
class DeviceOption:
    """The processors that run it."""

    panel = PLACES

    device: str = option(
        "--device auto|cpu|cuda", "CPU ranks, or GPUs. auto: GPUs if there are any.", default="auto"
    )


@dataclass(frozen=True, kw_only=True)
class CaseOptions:
    """What each size is measured with: every combination."""

    panel = CASES

    dtype: str | None = option(
        "-d, --dtype, --datatype LIST",
        "Element types: float64 float32 float16 bfloat16 float8_e4m3 float8_e5m2 int8 uint8 int32 "
        "uint32 int64 uint64, or all; also fp32, fp16, bf16 and the names of nccl-tests. [float32]",
    )
    op: str | None = option("-o, --op LIST", "Operations: sum prod min max avg, or all. [sum]")
    in_place: bool | None = option(
        "--in-place/--out-of-place", "Write the output over the input, or not. [--out-of-place]"
    )
    buffers: str | None = option(
        "--buffers LIST",
        "symmetric: memory that peers can access. private: ordinary memory; what NVRAR copies is "
        "part of the time. [symmetric]",
    )
    protocol: str | None = option(
        "--protocol LIST", "Protocols of NVRAR: auto, signal, packet. [auto]"
    )


@dataclass(frozen=True, kw_only=True)
class CountOptions:
    """How many calls each point has."""

    panel = SAMPLES

    warmup: int = option(
        "-w, --warmup, --warmup_iters N", "Untimed calls per size and backend.", default=20
    )
    iters: int | None = option(
        "-n, --iters N", "Samples per size and backend. [200, up to 1000 where they are correlated]"
    )


@dataclass(frozen=True, kw_only=True)
class PrecisionOptions:
    """How well each point is to be known, and when ranks start."""

    panel = SAMPLES

    precision: str | None = option(
        "--precision PERCENT",
        "Instead of --iters: measure until the table would show this as ±95%: 1% or 0.01.",
    )
    min_samples: int | None = option(
        "--min-samples N", "With --precision: at least this many samples. [100]"
    )
    max_samples: int | None = option(
        "--max-samples N", "With --precision: at most this many samples. [100000]"
    )
    max_time: float | None = option(
        "--max-time SECONDS", "With --precision: at most this long per size and backend. [5]"
    )
    start: str = option(
        "--start auto|clock|barrier",
        "How ranks start a call together. clock: at an agreed time. barrier: when all have "
        "arrived. auto: clock, or barrier where ranks share cores.",
        default="auto",
    )
    late: str | None = option(
        "--late RANK=TIME",
        "Delay one rank: with 1=50us rank 1 begins each call, or step, 50 us after the others. "
        "Times then include their wait for it. [none]",
    )


@dataclass(frozen=True, kw_only=True)
class CheckingOptions:
    """Whether the buffers that are timed are verified."""

    panel = CHECKS

    check: bool = option("--check/--no-check", "Verify the buffers that are timed.", default=True)
    check_flag: str | None = option("-c 0|1", "As in nccl-tests: 0 is --no-check, 1 is --check.")


@dataclass(frozen=True, kw_only=True)
class CheckModeOption:
    """The inputs that results are verified with."""

    panel = CHECKS

    check_mode: str | None = option(
        "--check-mode LIST",
        "exact: inputs whose result is known to the bit. rounding: random inputs, compared within "
        "an error bound. wrap: integers that overflow, modulo 2^bits; MPI and NCCL do not define "
        "that, and run it only if this option names it. [exact]",
    )


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """What `tune` tries, and for how long."""

    panel = CASES

    dtype: str | None = option("-d, --dtype LIST", "Element types, as for sweep. [float32]")
    op: str | None = option("-o, --op LIST", "Operations: sum prod min max avg, or all. [sum]")
    buffers: str | None = option("--buffers LIST", "symmetric or private, or both. [symmetric]")
    protocol: str | None = option("--protocol LIST", "Protocols to try: signal, packet. [both]")
    blocks: str | None = option(
        "--blocks LIST", "Numbers of blocks to try, of each rank. [powers of two, by size]"
    )
    threads: str | None = option(
        "--threads LIST", "Numbers of threads to try, of each block. [powers of two, by size]"
    )
    chunk: str | None = option(
        "--chunk LIST", "Chunks to try, as for sweep. [powers of two, by size]"
    )
    radix: str | None = option(
        "--radix LIST", "Radices to try, as for sweep. [2, and all nodes up to 16]"
    )
    exchange: str | None = option(
        "--exchange LIST",
        "Exchanges to try. [doubling; in one node also one-shot, between 3 nodes and more halving]",
    )
    max_time: float = option(
        "--max-time SECONDS",
        "Start no further round of candidates at one size after this.",
        default=60.0,
    )
    backend: str = option(
        "--backend nvrar|fake", "What to tune; fake is for tests.", default="nvrar"
    )
