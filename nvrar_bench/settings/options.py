"""The options that commands share, and how their texts become settings.

Short flags that nccl-tests has too mean what they mean there, but for `-G`; its long names are
accepted beside ours. What it has and we have not is in nccl_tests.py.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from nvrar_bench.devices import require_known
from nvrar_bench.errors import UsageError

_T = TypeVar("_T")
_PART = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,9})?|\.[0-9]{1,9})( ?%)?", re.ASCII)


def _converted(convert: Callable[[str], _T], text: str, allowed: str) -> _T:
    try:
        return convert(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r}: allowed: {allowed}") from None


def whole(text: str) -> int:
    """Read a whole number; Typer's own message would not name the value.

    Raises:
        typer.BadParameter: Typer adds the option's name.
    """
    return _converted(int, text, "a whole number")


def graph(text: str) -> int:
    """Read the calls of a graph: 0 is no graph, as in nccl-tests, and so is a single call.

    Raises:
        typer.BadParameter: as `whole`.
    """
    return whole(text) or 1


def number(text: str) -> float:
    """Read a number; as `whole`.

    Raises:
        typer.BadParameter: Typer adds the option's name.
    """
    return _converted(float, text, "a number")


def ranks(text: str) -> int:
    """Read a number of ranks; `auto` is one per core, and two where there is but one.

    Raises:
        typer.BadParameter: Typer adds the option's name.
    """
    if text == "auto":
        from nvrar_bench.devices.machine import usable_cores

        return max(2, usable_cores())
    return _converted(int, text, "a whole number, or auto")


def place(text: str) -> Path:
    """Read the path of a file to be written; what a Path forgets of it is refused here.

    Raises:
        typer.BadParameter: Typer adds the option's name.
    """
    if not text:
        raise typer.BadParameter("'': allowed: the path of a file")
    if text.endswith("/"):
        raise typer.BadParameter(
            f"{text!r} names a folder; allowed: a file, such as {text}run.json"
        )
    return Path(text)


CheckMode = Annotated[
    str | None,
    typer.Option(
        "--check-mode",
        metavar="LIST",
        help="exact (results known to the bit), rounding (random data, a bound), or wrap (integer "
        "sums and products that overflow, modulo 2^bits). MPI and NCCL leave overflow open: they "
        "run wrap only where this option names it, not for a case file's sake.",
    ),
]
Minimum = Annotated[
    str | None,
    typer.Option("-b", "--min", "--minbytes", metavar="SIZE", help="Smallest size. [128K]"),
]
Maximum = Annotated[
    str | None,
    typer.Option("-e", "--max", "--maxbytes", metavar="SIZE", help="Largest size. [2M]"),
]
Factor = Annotated[
    float | None,
    typer.Option(
        "-f",
        "--factor",
        "--stepfactor",
        metavar="X",
        parser=number,
        help="Sizes grow by this factor. [2]",
    ),
]
Step = Annotated[
    str | None,
    typer.Option("-i", "--step", "--stepbytes", metavar="SIZE", help="Sizes grow by this step."),
]
Sizes = Annotated[
    str | None, typer.Option("--sizes", metavar="LIST", help="These sizes instead of a range.")
]
Backends = Annotated[
    str | None,
    typer.Option(
        "--backend", metavar="LIST",
        help="Backends, separated by commas: nccl, mpi, nvrar, fake. Default: all that are there. "
        "One asked for by name that is not there ends the run with exit code 5.",
    ),
]  # fmt: skip
Device = Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda", help="Where to run.")]
Nodes = Annotated[
    int | None,
    typer.Option(
        "--nodes", metavar="N", parser=whole,
        help="Split the ranks of one machine into N virtual nodes. Default: the real ones.",
    ),
]  # fmt: skip
Wide = Annotated[
    bool,
    typer.Option(
        "--wide", help="All columns of the table: intervals, n eff, algbw; as wide as they are."
    ),
]
Verbose = Annotated[
    bool, typer.Option("--verbose", help="All remarks below the table, not the six that matter.")
]
Ranks = Annotated[
    int | None,
    typer.Option(
        "--ranks", metavar="N|auto", parser=ranks,
        help="Start mpirun with N ranks; auto: one per core that this process may use, at least 2. "
        "Default: run under the mpirun that started this.",
    ),
]  # fmt: skip
Launcher = Annotated[
    str | None,
    typer.Option(
        "--launcher", metavar="CMD",
        help="Start the ranks by this command, on any machines: 'mpirun --hostfile hosts -n 16', "
        "'srun -N 4 -n 16 --mpi=pmix'.",
    ),
]  # fmt: skip
Launches = Annotated[
    int,
    typer.Option(
        "--launches", metavar="N", parser=whole,
        help="With --ranks, --launcher or --virtual-ranks: launch N times, and make one record of "
        "it all. [1]",
    ),
]  # fmt: skip
MaxLaunches = Annotated[
    int | None,
    typer.Option(
        "--max-launches", metavar="N", parser=whole,
        help="Go on until --launches of them found the machine in one state at every point, but "
        "not beyond so many; asks for --one-state. [--launches, whatever they found]",
    ),
]  # fmt: skip
OneState = Annotated[
    bool,
    typer.Option(
        "--one-state",
        help="Take medians only from samples that found the machine in one state, as a yardstick "
        "between calls tells it. Default: from all samples that began in time.",
    ),
]
Network = Annotated[
    str | None,
    typer.Option(
        "--network", metavar="NAME|FILE",
        help="Set what libraries need on this network, or are faster with: slingshot, infiniband, "
        "roce, tcp, or a file; auto: the network found, and only what is needed to run. What you "
        "have set stays. [nothing is set]",
    ),
]  # fmt: skip
Fabric = Annotated[
    str, typer.Option(
        "--fabric", metavar="auto|host|nvshmem|loopback",
        help="What connects NVRAR's ranks: host (CPU ranks), nvshmem (GPUs), or loopback: virtual "
        "ranks in this one process, without mpirun.",
    ),
]  # fmt: skip
VirtualRanks = Annotated[
    int | None,
    typer.Option(
        "--virtual-ranks", metavar="N", parser=whole,
        help="Ranks of --fabric loopback, 2 to 16; on a GPU all in one launch.",
    ),
]  # fmt: skip
Blocks = Annotated[
    int | None,
    typer.Option("--blocks", metavar="N", parser=whole, help="NVRAR: blocks of each rank."),
]
Threads = Annotated[
    int | None,
    typer.Option("--threads", metavar="N", parser=whole, help="NVRAR: threads of each block."),
]
Chunk = Annotated[
    str | None,
    typer.Option(
        "--chunk", metavar="SIZE", help="NVRAR: how much of a slice one signal announces."
    ),
]
Radix = Annotated[
    int | None,
    typer.Option(
        "--radix", metavar="N", parser=whole,
        help="NVRAR: nodes that exchange directly in one step; 2 is recursive doubling. [2]",
    ),
]  # fmt: skip
Tuning = Annotated[
    Path | None,
    typer.Option(
        "--tuning", metavar="PATH",
        help="NVRAR: a table of tune, which auto follows; what is fixed here comes first. "
        "[$NVRAR_BENCH_TUNING, else none]",
    ),
]  # fmt: skip
FirstEpoch = Annotated[
    int,
    typer.Option(
        "--first-epoch", metavar="N", parser=whole,
        help="NVRAR: number of the first window; near 4294967296 flags wrap. For tests. [1]",
    ),
]  # fmt: skip
Batch = Annotated[
    int | None,
    typer.Option(
        "--batch", metavar="K", parser=whole,
        help="A sample is K calls that follow each other behind one start, divided by K; 1 to 128. "
        "[1 on cpu and with --cold-cache; on cuda 25, fewer above 4M]",
    ),
]  # fmt: skip
Graph = Annotated[
    int,
    typer.Option(
        "-G", "--graph", "--cudagraph", metavar="K", parser=graph,
        help="GPU: a batch of K calls, captured in one CUDA graph; 0 and 1: no graph. [1]",
    ),
]  # fmt: skip
ColdCache = Annotated[
    bool,
    typer.Option(
        "--cold-cache",
        help="Flush the caches before each sample: a GPU's L2, or those of the ranks' cores.",
    ),
]
ShareGpu = Annotated[
    bool,
    typer.Option(
        "--share-gpu", help="Let several ranks run on one GPU; every result then says so."
    ),
]
MappedNodes = Annotated[
    bool,
    typer.Option(
        "--mapped-nodes",
        help="GPU: NVRAR reaches ranks of other virtual nodes (--nodes) by loads and stores. "
        "Default: by NVSHMEM's puts, as between machines.",
    ),
]
Precision = Annotated[
    str | None,
    typer.Option(
        "--precision", metavar="PERCENT",
        help="Instead of --iters: measure until half of the median's 95 % interval is this part of "
        "the median, such as 1% or 0.01.",
    ),
]  # fmt: skip
MinSamples = Annotated[
    int | None,
    typer.Option(
        "--min-samples", metavar="N", parser=whole,
        help="With --precision: not before so many samples. [100]",
    ),
]  # fmt: skip
MaxSamples = Annotated[
    int | None,
    typer.Option(
        "--max-samples", metavar="N", parser=whole,
        help="With --precision: no more samples than this. [100000]",
    ),
]  # fmt: skip
MaxTime = Annotated[
    float | None,
    typer.Option(
        "--max-time", metavar="SECONDS", parser=number,
        help="With --precision: no longer than this for one backend at one size. [5]",
    ),
]  # fmt: skip
Start = Annotated[
    str,
    typer.Option(
        "--start", metavar="auto|clock|barrier",
        help="How ranks begin a call: at an agreed time of related clocks, or when all have come. "
        "auto is clock, and barrier where ranks share cores.",
    ),
]  # fmt: skip
Json = Annotated[
    Path | None,
    typer.Option(
        "--json", metavar="PATH|-", parser=place,
        help="Write the run record here, after every case; - is standard output.",
    ),
]  # fmt: skip
Timeout = Annotated[
    float,
    typer.Option(
        "-T", "--timeout", metavar="SECONDS", parser=number,
        help="How long any rank waits for another before the run ends with exit code 4.",
    ),
]  # fmt: skip
Seed = Annotated[
    int,
    typer.Option(
        "--seed", metavar="N", parser=whole, help="Of the verified inputs and of the order."
    ),
]


def command(option: str, text: str | None) -> tuple[str, ...]:
    """Split a command into words, as a shell does; nothing given is an empty tuple.

    Raises:
        UsageError: it is none, or its program is not on PATH.
    """
    if text is None:
        return ()
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError(f"{option} {text!r}: {error}; allowed: a command") from None
    program = words[0] if words else ""
    is_there = shutil.which(program) is not None
    require(is_there, option, repr(text), f"a command; {program!r} is no program on PATH")
    return words


def names(text: str | None) -> tuple[str, ...]:
    """Split a LIST; nothing given is an empty tuple."""
    return () if text is None else tuple(name.strip() for name in text.split(","))


def wholes(option: str, text: str | None, least: int, most: int) -> tuple[int, ...]:
    """Read a LIST of whole numbers; nothing given is an empty tuple.

    Raises:
        UsageError: one is none, or not from `least` to `most`.
    """
    found = []
    for word in names(text):
        is_whole = re.fullmatch("[0-9]{1,9}", word, re.ASCII) is not None
        allowed = f"whole numbers from {least} to {most}, separated by commas"
        require(is_whole and least <= int(word) <= most, option, repr(word), allowed)
        found.append(int(word))
    return tuple(dict.fromkeys(found))


def require(condition: bool, option: str, value: Any, allowed: str) -> None:
    """Refuse a value.

    Raises:
        UsageError: naming the option, the value and what is allowed.
    """
    if not condition:
        raise UsageError(f"{option} {value}: allowed: {allowed}")


def part(option: str, text: str, least: float = 0.0, most: float = 1.0) -> float:
    """Read the value of `option`: `5%`, `5 %` and `0.05` are the same part.

    Raises:
        UsageError: it is neither, or not from `least` to `most`.
    """
    match = _PART.fullmatch(text.strip())
    value = float(match[1]) / (100 if match[2] else 1) if match else -1.0
    allowed = f"{least * 100:g}% to {most * 100:g}%, or {least:g} to {most:g}"
    require(least <= value <= most, option, repr(text), allowed)
    return value


def require_common(device: str, nodes: int | None, ranks: int | None, timeout: float) -> None:
    """Check the options that every running command has."""
    require_known(device)
    require(nodes is None or nodes >= 1, "--nodes", nodes, "a whole number from 1 up")
    require(ranks is None or 1 <= ranks <= 4096, "--ranks", ranks, "1 to 4096")
    require(0 < timeout <= 86400, "--timeout", f"{timeout:g}", "more than 0, at most 86400 seconds")
    if nodes and ranks:
        fitting = ", ".join(str(n) for n in range(1, ranks + 1) if ranks % n == 0)
        require(ranks % nodes == 0, "--nodes", nodes, f"what divides {ranks} ranks: {fitting}")
