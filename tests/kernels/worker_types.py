"""Every dtype and op in every check mode that it has, at a few shapes.

worker_types.py NODES PROTOCOL DTYPE:OP ...
"""

from __future__ import annotations

import sys

from harness import Ranks, Shape

from nvrar_bench.datatypes import can_wrap

COUNTS = (1, 37, 1003)
MEMORY = (
    ("symmetric", "out_of_place"),
    ("symmetric", "in_place"),
    ("private", "out_of_place"),
    ("private", "in_place"),
)


def modes(dtype: str, op: str) -> tuple[str, ...]:
    return ("exact", "rounding", "wrap") if can_wrap(dtype, op) else ("exact", "rounding")


def main() -> None:
    nodes, protocol, kinds = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    ranks = Ranks(nbytes=8 * max(COUNTS))
    plan = [
        Shape(*kind.split(":"), count, protocol, *memory, mode)
        for kind in kinds
        for mode in modes(*kind.split(":"))
        for count in COUNTS
        for memory in MEMORY
    ]
    ranks.reserve(plan)
    ranks.run(f"{nodes} nodes", [ranks.prepare(nodes, shape) for shape in plan])
    ranks.report(planned=len(plan))


if __name__ == "__main__":
    main()
