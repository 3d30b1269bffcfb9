"""The mixed-radix schedule of the exchange between nodes; kernels/schedule.cuh runs it."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

LARGEST_RADIX = 7  # of a prime step: a larger prime folds nodes in rather than widen a step so far


@dataclass(frozen=True)
class Schedule:
    """Steps between nodes: `radices[s]` nodes exchange in step s.

    The first `core_nodes` = prod(radices) nodes run the steps; every further node is folded into
    one of them before, and gets the result back after.
    """

    nodes: int
    radices: tuple[int, ...]

    @property
    def core_nodes(self) -> int:
        """Nodes that run the steps."""
        return prod(self.radices)

    @property
    def is_folding(self) -> bool:
        """True if there are nodes beyond the core."""
        return self.core_nodes < self.nodes

    @property
    def slots(self) -> int:
        """Receive slots of one node over all steps."""
        return sum(radix - 1 for radix in self.radices)


def plan_steps(nodes: int, radix: int = 2) -> Schedule:
    """Plan the steps for `nodes` nodes, each of at most max(radix, largest prime factor) nodes.

    radix 2 is recursive doubling wherever `nodes` is a power of two; radix >= nodes is one direct
    exchange. 6 nodes run as 2 x 3; 11 as 10 = 2 x 5 with one node folded in.
    """
    limit = max(radix, LARGEST_RADIX)
    core = next(n for n in range(nodes, 0, -1) if max(_prime_factors(n), default=1) <= limit)
    return Schedule(nodes, _grouped(_prime_factors(core), radix))


def _prime_factors(number: int) -> list[int]:
    factors, divisor = [], 2
    while number > 1:
        while number % divisor == 0:
            factors.append(divisor)
            number //= divisor
        divisor += 1
    return factors


def _grouped(factors: list[int], radix: int) -> tuple[int, ...]:
    """Merge neighbouring factors while their product stays within `radix`: fewer, wider steps."""
    groups: list[int] = []
    for factor in factors:
        if groups and groups[-1] * factor <= radix:
            groups[-1] *= factor
        else:
            groups.append(factor)
    return tuple(groups)
