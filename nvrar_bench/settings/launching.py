"""How NVRAR is launched, what connects its ranks, and how many calls make a sample."""

from __future__ import annotations

from nvrar_bench.backends.nvrar.tuning import Tuning, table_for
from nvrar_bench.errors import UsageError
from nvrar_bench.settings.options import CheckOptions, DecodeOptions, RunOptions, SweepOptions
from nvrar_bench.settings.search import chunk_bytes
from nvrar_bench.settings.values import require
from nvrar_bench.toolchain.kernel import EXCHANGES
from nvrar_bench.toolchain.structs import MAX_VIRTUAL_RANKS

FABRICS = ("auto", "host", "nvshmem", "loopback")
MOST_CALLS = 128  # of a sample: a stream that is held takes about 1000 launches


def tuning_of(options: SweepOptions | CheckOptions | DecodeOptions) -> Tuning:
    """Check what is fixed of a launch, and read the tuning table that `auto` is to follow.

    Raises:
        UsageError: naming the option, the value and what is allowed.
    """
    blocks, threads = options.blocks, options.threads
    radix, exchange, first = options.radix, options.exchange, options.first_epoch
    for option, value in (("--blocks", blocks), ("--threads", threads)):
        require(value is None or value >= 1, option, value, "a whole number from 1 up")
    require(radix is None or 2 <= radix <= 64, "--radix", radix, "2 to 64")
    require(exchange in ("auto", *EXCHANGES), "--exchange", exchange, "auto, doubling, halving")
    # Calls count on from there, and an epoch has 64 bits.
    require(1 <= first < 2**62, "--first-epoch", first, "1 to 2**62 - 1")
    chunk = None if options.chunk is None else chunk_bytes(options.chunk)
    table = table_for(options.tuning, "--tuning")
    fixed = None if exchange == "auto" else exchange
    return Tuning(blocks, threads, chunk, radix, fixed, first, table, options.mapped_nodes)


def batch_of(batch: int | None, graph: int = 1) -> int | None:
    """How many calls a sample is; a graph holds all of them. None: as many as the device wants.

    Raises:
        UsageError: naming the option, the value and what is allowed.
    """
    allowed = f"1 to {MOST_CALLS}"
    require(1 <= graph <= MOST_CALLS, "--graph", graph, allowed)
    require(batch is None or 1 <= batch <= MOST_CALLS, "--batch", batch, allowed)
    if graph == 1:
        return batch
    if batch not in (None, graph):
        raise UsageError(
            f"--batch {batch} and --graph {graph}: a graph holds all calls of a sample; give "
            "one of them, or the same number twice"
        )
    return graph


def require_fabric(options: RunOptions) -> None:
    """Check --fabric, and that what goes with it is given and nothing else.

    Raises:
        UsageError: naming the option, the value and what is allowed.
    """
    fabric, virtual = options.fabric, options.virtual_ranks
    require(fabric in FABRICS, "--fabric", fabric, ", ".join(FABRICS))
    in_range = virtual is None or 2 <= virtual <= MAX_VIRTUAL_RANKS
    require(in_range, "--virtual-ranks", virtual, f"2 to {MAX_VIRTUAL_RANKS}")
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
    nodes = options.nodes
    if nodes:
        fitting = ", ".join(str(n) for n in range(1, virtual + 1) if virtual % n == 0)
        allowed = f"what divides {virtual} virtual ranks: {fitting}"
        require(virtual % nodes == 0, "--nodes", nodes, allowed)
