"""How NVRAR is launched, fixed or searched for, what connects its ranks, and calls of a sample.

What is not allowed is a UsageError that names the option, the value and what is allowed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nvrar_bench.backends.nvrar.space import Space
from nvrar_bench.backends.nvrar.tuning import MOST_RADIX, Tuning, table_for
from nvrar_bench.documents.files import STDOUT
from nvrar_bench.errors import UsageError
from nvrar_bench.settings import values
from nvrar_bench.settings.options import (
    CheckOptions,
    DecodeOptions,
    RunOptions,
    SweepOptions,
    TuneOptions,
)
from nvrar_bench.toolchain.kernel import EXCHANGES, ONE_SHOT, PROTOCOLS
from nvrar_bench.toolchain.structs import MAX_VIRTUAL_RANKS
from nvrar_bench.units import parse_size

FABRICS = ("auto", "host", "nvshmem", "loopback")
MOST_CALLS = 128  # of a sample: a stream that is held takes about 1000 launches
_MOST = 1 << 20  # of blocks and threads; what a device allows is less, and says so itself


@dataclass(frozen=True)
class Tune:
    """The launches to try; at one size no round of the race begins after `max_time` seconds."""

    output: Path
    space: Space
    max_time: float

    def to_json(self) -> dict[str, Any]:
        """For the record; an empty list is what limits and size suggest."""
        listed = {key: list(values) for key, values in asdict(self.space).items()}
        return {"output": str(self.output), "max_time_s": self.max_time, **listed}


def tuning_of(options: SweepOptions | CheckOptions | DecodeOptions) -> Tuning:
    """Check what is fixed of a launch, and read the tuning table that `auto` is to follow."""
    blocks, threads = options.blocks, options.threads
    radix, exchange, first = options.radix, options.exchange, options.first_epoch
    for option, value in (("--blocks", blocks), ("--threads", threads)):
        values.require(value is None or value >= 1, option, value, "a whole number from 1 up")
    values.require_within("--radix", radix, 2, MOST_RADIX)
    allowed = ("auto", *EXCHANGES, ONE_SHOT)
    values.require(exchange in allowed, "--exchange", exchange, ", ".join(allowed))
    # Calls count on from there, and an epoch has 64 bits.
    values.require(1 <= first < 2**62, "--first-epoch", first, "1 to 2**62 - 1")
    chunk = None if options.chunk is None else _chunk_bytes(options.chunk)
    table = table_for(options.tuning, "--tuning")
    fixed = None if exchange == "auto" else exchange
    return Tuning(blocks, threads, chunk, radix, fixed, first, table, options.mapped_nodes)


def batch_of(batch: int | None, graph: int = 1) -> int | None:
    """How many calls a sample is; a graph holds all of them. None: as many as the device wants."""
    values.require_within("--graph", graph, 1, MOST_CALLS)
    values.require_within("--batch", batch, 1, MOST_CALLS)
    if graph == 1:
        return batch
    if batch not in (None, graph):
        raise UsageError(
            f"--batch {batch} and --graph {graph}: a graph holds all calls of a sample; give "
            "one of them, or the same number twice"
        )
    return graph


def require_fabric(options: RunOptions) -> None:
    """Check --fabric, and that what goes with it is given and nothing else."""
    fabric, virtual = options.fabric, options.virtual_ranks
    values.require(fabric in FABRICS, "--fabric", fabric, ", ".join(FABRICS))
    values.require_within("--virtual-ranks", virtual, 2, MAX_VIRTUAL_RANKS)
    # No fabric is chosen for the user here: with virtual ranks there is no choice.
    if (fabric == "loopback") != (virtual is not None):
        raise UsageError(
            "--fabric loopback and --virtual-ranks N go together: loopback connects virtual "
            "ranks, and virtual ranks have no other fabric"
        )
    if virtual is not None:
        _require_virtual(options, virtual)
    other = {"host": "cuda", "nvshmem": "cpu"}
    if other.get(fabric) == options.device:
        raise UsageError(
            f"--fabric {fabric} --device {options.device}: host connects CPU ranks, nvshmem GPUs"
        )


def _require_virtual(options: RunOptions, virtual: int) -> None:
    if options.mapped_nodes:
        raise UsageError(
            "--mapped-nodes and --virtual-ranks exclude each other: virtual ranks of all nodes "
            "are reached by loads and stores anyway"
        )
    if options.ranks:
        raise UsageError(
            f"--virtual-ranks {virtual} and --ranks {options.ranks} exclude each other: virtual "
            "ranks live in one process"
        )
    values.require_divisor(options.nodes, virtual, "virtual ranks")


def search_of(options: TuneOptions) -> Tune:
    """Check the options that only `tune` has, or has as lists."""
    seconds, backend = options.max_time, options.backend
    values.require_seconds("--max-time", seconds)
    values.require(backend in ("nvrar", "fake"), "--backend", backend, "nvrar, fake")
    values.require(
        options.output != STDOUT, "--output", options.output, "a file; the choices are printed"
    )
    space = Space(
        values.choices("--protocol", options.protocol, tuple(PROTOCOLS)),
        values.wholes("--blocks", options.blocks, 1, _MOST),
        values.wholes("--threads", options.threads, 1, _MOST),
        tuple(dict.fromkeys(map(_chunk_bytes, values.names(options.chunk)))),
        values.wholes("--radix", options.radix, 2, MOST_RADIX),
        values.choices("--exchange", options.exchange, (*EXCHANGES, ONE_SHOT)),
    )
    return Tune(options.output, space, seconds)


def _chunk_bytes(text: str) -> int:
    size = parse_size(text, option="--chunk")
    values.require(size >= 16, "--chunk", text, "16 bytes and more")
    return size
