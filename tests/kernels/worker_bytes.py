"""What ranks that are machines send each other in a call: bytes and messages, counted at MPI_Isend.

worker_bytes.py COUNT [COUNT ...]          of float32, by both protocols and exchanges
"""

from __future__ import annotations

import sys
from ctypes import CFUNCTYPE, c_int, c_uint64, c_void_p, cast
from itertools import product

from harness import Ranks, Shape

from nvrar_bench.run.as_rank import join_world
from nvrar_bench.toolchain.kernel import EXCHANGES

_ISEND = CFUNCTYPE(c_int, c_void_p, *[c_uint64] * 5, c_void_p)


class Counter:
    """Takes the place of the function that the kernel sends by."""

    def __init__(self, address: int) -> None:
        self._send = _ISEND(address)
        self._counted = _ISEND(self._count)  # must outlive the kernel's use of it
        self.address = cast(self._counted, c_void_p).value
        self.sizes: list[int] = []

    def _count(self, source: int, nbytes: int, *others: int) -> int:
        self.sizes.append(nbytes)
        return self._send(source, nbytes, *others)


def main() -> None:
    counts = [int(text) for text in sys.argv[1:]]
    ranks = Ranks(4 * max(counts), machines=join_world().size)
    nodes = ranks.world.nodes
    transport = ranks.backend(nodes).engine._transport
    counter = Counter(transport.isend)
    transport.isend = counter.address
    shapes = [
        Shape("float32", "sum", count, protocol, "symmetric", "out_of_place", exchange=exchange)
        for count, protocol, exchange in product(counts, ("signal", "packet"), EXCHANGES)
    ]
    ranks.reserve(shapes)
    sent = []
    for shape in shapes:
        counter.sizes.clear()
        ranks.run("bytes", [ranks.prepare(nodes, shape)])
        everyone = ranks.world.comm.gather((sum(counter.sizes), len(counter.sizes)))
        sent.append([shape.count, shape.protocol, shape.exchange, everyone])
    ranks.report(sent=sent)


if __name__ == "__main__":
    main()
