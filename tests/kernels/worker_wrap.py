"""Calls around the epoch at which the flags of packets come round.

worker_wrap.py NODES

Calls from epoch 1 on leave cells with flags 1, 2, ... behind. Then the epoch jumps to a multiple of
2**32, or close below it, and the same calls meet the same flags, with other data. Only one of them
uses packets: nothing else touches what it left behind. A rank that comes late to it shows whether
another takes the old cells for its new ones.
"""

from __future__ import annotations

import sys

from harness import SEEDS, Ranks, Shape

from nvrar_bench.backends.nvrar.backend import FLAG_SPAN
from nvrar_bench.backends.nvrar.cpu import HostEngine

WINDOW_BYTES = HostEngine.limits.window_bytes


def main() -> None:
    nodes = int(sys.argv[1])
    ranks = Ranks(2 * WINDOW_BYTES["packet"], lateness=0.5)
    plan = [
        Shape("float32", "sum", count, protocol, kind, "out_of_place")
        for count, protocol, kind in (
            (3, "signal", "private"),
            (1009, "signal", "symmetric"),
            (2 * WINDOW_BYTES["packet"] // 4, "packet", "private"),
        )
    ]
    ranks.reserve(plan)
    wrapped = []
    for wrap in (1, 2):
        for before in (0, 1, 2, 5):
            # Fresh staging memory, so that what is left behind in it is known.
            ranks.backend.cache_clear()
            calls = [ranks.prepare(nodes, shape) for shape in plan]
            title = f"{before} before wrap {wrap}"
            ranks.run(f"from epoch 1, {title}", calls)
            ranks.backend(nodes)._epoch = wrap * FLAG_SPAN - before
            ranks.calls += (before + len(calls)) % SEEDS == 0  # the same call, another seed
            ranks.run(title, [calls[0]] * before + calls)
            wrapped.append(ranks.backend(nodes)._epoch // FLAG_SPAN)
    ranks.report(wrapped=wrapped)


if __name__ == "__main__":
    main()
