"""Every awkward count, kind of buffer and protocol, at all numbers of nodes that divide the ranks.

worker_shapes.py [NODES ...]          ranks of one machine
worker_shapes.py --machines NODES     ranks of so many machines
worker_shapes.py --halving ...        parts between nodes
worker_shapes.py --one-shot 1         whole messages in one node

Beyond eight ranks, and in other exchanges than doubling, the counts are few: there it is the
schedule that matters.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import product

from harness import Ranks, Shape

from nvrar_bench.backends.nvrar.cpu import HostEngine, HostsEngine
from nvrar_bench.datatypes import DTYPES

PROTOCOLS = ("signal", "packet")
OTHERS = ("float64", "bfloat16", "int8")  # a dtype of each other size
APART = "--machines" in sys.argv
EXCHANGE = next((name for name in ("halving", "one-shot") if f"--{name}" in sys.argv), "doubling")
LIMITS = (HostsEngine if APART else HostEngine).limits
WINDOW_BYTES = LIMITS.window_bytes
CHUNK_BYTES = LIMITS.max_chunk_bytes
LONGEST = 2 * WINDOW_BYTES["signal"] + 64
MANY = 8


def main() -> None:
    wanted = [int(text) for text in sys.argv[1:] if text.isdecimal()]
    ranks = Ranks(LONGEST, machines=wanted[0] if APART else 1)
    size = ranks.world.size
    wanted = wanted or list(range(1, size + 1))
    plans = {
        nodes: list(shapes(size // nodes, size > MANY or EXCHANGE != "doubling"))
        for nodes in wanted
        if size % nodes == 0
    }
    for plan in plans.values():
        ranks.reserve(plan)
    for nodes, plan in plans.items():
        ranks.run(f"{nodes} nodes", [ranks.prepare(nodes, shape) for shape in plan])
    ranks.report(nodes=list(plans), planned=sum(map(len, plans.values())))


def shapes(per_node: int, few: bool) -> Iterator[Shape]:
    for protocol in PROTOCOLS:
        counts = (few_counts if few else all_counts)(protocol, per_node)
        for kind, placement in product(("symmetric", "private"), ("out_of_place", "in_place")):
            for dtype in counts:
                for index, count in enumerate(counts[dtype]):
                    yield Shape(
                        dtype, "sum", count, protocol, kind, placement,
                        skew=(0, 0, 1, 3)[index % 4], exchange=EXCHANGE,
                    )  # fmt: skip
            # Sums that depend on their order: every rank must hold the bits of every other.
            for dtype in ("float32", "bfloat16"):
                yield Shape(
                    dtype, "sum", 1009, protocol, kind, placement, "rounding", exchange=EXCHANGE
                )


def few_counts(protocol: str, per_node: int) -> dict[str, list[int]]:
    return {"float32": [1, per_node + 1, 1009, WINDOW_BYTES[protocol] // 4 + 1], "bfloat16": [17]}


def all_counts(protocol: str, per_node: int) -> dict[str, list[int]]:
    counts = {"float32": [*small(per_node), 10007, *edges(protocol, per_node, 4)]}
    counts |= {name: [1, per_node + 1, 17, 1009] for name in OTHERS}
    counts["bfloat16"].append(WINDOW_BYTES[protocol] // DTYPES["bfloat16"].itemsize + 1)
    return counts


def small(per_node: int) -> list[int]:
    counts = {1, per_node - 1, per_node, per_node + 1, 15, 16, 17, 1009}
    return sorted(counts - {0})


def edges(protocol: str, per_node: int, itemsize: int) -> list[int]:
    """Counts around a full chunk in every slice, a full window, and two windows."""
    window, chunk = WINDOW_BYTES[protocol] // itemsize, per_node * CHUNK_BYTES // itemsize
    around = [edge + by for edge in (chunk, window) for by in (-1, 0, 1) if edge <= window]
    return sorted({*around, 2 * window + 1})


if __name__ == "__main__":
    main()
