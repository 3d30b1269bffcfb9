"""Calls of which each differs from the one before, and ranks that oversleep.

worker_mixed.py CALLS LARGEST_COUNT SEED EPOCH

Everything changes from call to call: size, dtype, op, protocol, exchange, memory, and even the
number of nodes, which each has a backend with epochs and staging memory of its own.
"""

from __future__ import annotations

import sys
from random import Random

from harness import Ranks, Shape

from nvrar_bench.toolchain.kernel import EXCHANGES, ONE_SHOT

KINDS = (("float32", "sum"), ("float64", "sum"), ("bfloat16", "sum"), ("int8", "max"))


def main() -> None:
    calls, largest, seed, epoch = map(int, sys.argv[1:])
    ranks = Ranks(nbytes=8 * largest + 64, seed=seed, epoch=epoch, lateness=0.05)
    random = Random(seed)  # the same on every rank
    plan = [call(random, largest, divisors(ranks.world.size)) for _ in range(80)]
    ranks.reserve(shape for _, shape in plan)
    prepared = [ranks.prepare(nodes, shape) for nodes, shape in plan]
    ranks.run("mixed", [random.choice(prepared) for _ in range(calls)])
    ranks.report()


def divisors(number: int) -> list[int]:
    return [n for n in range(1, number + 1) if number % n == 0]


def call(random: Random, largest: int, divisors: list[int]) -> tuple[int, Shape]:
    nodes = random.choice(divisors)
    exchanges = EXCHANGES if nodes > 1 else (*EXCHANGES, ONE_SHOT)
    return nodes, Shape(
        *random.choice(KINDS),
        count=int(largest ** random.random()),  # as many small ones as large ones
        protocol=random.choice(("signal", "packet")),
        buffers=random.choice(("symmetric", "private")),
        placement=random.choice(("out_of_place", "in_place")),
        skew=random.randrange(4),
        exchange=random.choice(exchanges),
    )


if __name__ == "__main__":
    main()
