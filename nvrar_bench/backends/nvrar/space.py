"""Which launches a search tries: what the user lists, and elsewhere what limits and size suggest.

Left out are, with their reasons:

- blocks that find less than the smallest chunk of a slice: they would only send flags;
- threads that find nothing in a chunk: less than a 16-byte load of a slice, or, by packets, than a
  unit;
- launches that no kernel is built for: more threads on a multiprocessor than spare them registers;
- chunks larger than a block's share of a slice: they are the same launch as one chunk for it;
- more than MOST_CHUNKS chunks for a block: each costs a flag and a put, one behind the other;
- a direct exchange of more than MOST_DIRECT nodes: staging memory and puts grow with every node;
- halving between two nodes: it sends as much as doubling, in twice as many turns;
- one-shot of more than one window, or of more than MOST_DIRECT ranks;
- shapes that come to the same launch: no radix changes the steps of one node.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

from nvrar_bench.backends.nvrar.layout import Schedule, plan
from nvrar_bench.backends.nvrar.limits import (
    BYTES_PER_THREAD,
    CHUNK_ALIGNMENT,
    Limits,
    require_within,
)
from nvrar_bench.backends.nvrar.tuning import AUTOMATIC, DEFAULT_RADIX, usual_radix
from nvrar_bench.devices.operation import Shape
from nvrar_bench.plan import Case
from nvrar_bench.toolchain.kernel import DOUBLING, EXCHANGES, ONE_SHOT, PROTOCOLS

if TYPE_CHECKING:  # a supervisor reads settings, and may load no MPI
    from nvrar_bench.backends.nvrar.chooser import Chooser

MOST_CHUNKS = 16
MOST_DIRECT = 16


@dataclass(frozen=True)
class Space:
    """What the user listed, to be searched exactly; empty: what limits and size suggest."""

    protocols: tuple[str, ...] = ()
    blocks: tuple[int, ...] = ()
    threads: tuple[int, ...] = ()
    chunk_bytes: tuple[int, ...] = ()
    radices: tuple[int, ...] = ()
    exchanges: tuple[str, ...] = ()

    def schedules(self, nodes: int, ranks_per_node: int) -> set[Schedule]:
        """Which ones calls may have, the default one among them."""
        tried = self._steps_for(nodes, ranks_per_node)
        return {
            plan(nodes, ranks_per_node, radix, exchange)
            for radix, exchange in ((DEFAULT_RADIX, DOUBLING), *tried)
        }

    def _steps_for(self, nodes: int, ranks_per_node: int) -> list[tuple[int, str]]:
        """Radix and exchange."""
        return [
            (radix, exchange)
            for exchange in self._exchanges_for(nodes, ranks_per_node)
            for radix in self._radices_for(nodes, ranks_per_node, exchange)
        ]

    def _radices_for(self, nodes: int, ranks_per_node: int, exchange: str) -> tuple[int, ...]:
        if self.radices:
            return self.radices
        if exchange == ONE_SHOT:
            return (usual_radix(exchange, ranks_per_node),)
        is_direct = DEFAULT_RADIX < nodes <= MOST_DIRECT
        return (DEFAULT_RADIX, nodes) if is_direct else (DEFAULT_RADIX,)

    def _exchanges_for(self, nodes: int, ranks_per_node: int) -> tuple[str, ...]:
        if self.exchanges:
            return self.exchanges
        if nodes > 1:
            return EXCHANGES if nodes > 2 else (DOUBLING,)
        return (DOUBLING, ONE_SHOT) if 1 < ranks_per_node <= MOST_DIRECT else (DOUBLING,)

    def require_within(self, limits: Limits) -> None:
        """Refuse what the limits do not allow (UsageError)."""
        for key in ("blocks", "threads", "chunk_bytes"):
            for value in getattr(self, key):
                require_within(replace(AUTOMATIC, **{key: value}), limits)

    def candidates(self, chooser: Chooser, nodes: int, case: Case) -> tuple[Shape, ...]:
        """Return the shapes to try for `case`; first what is chosen without a table, each once."""
        automatic = chooser.choose(AUTOMATIC, case).shape
        shapes = (automatic, *self._shapes(chooser, nodes, case))
        return tuple(_once(shapes, nodes, chooser.group))

    def _shapes(self, chooser: Chooser, nodes: int, case: Case) -> Iterator[Shape]:
        for (radix, exchange), protocol in product(
            self._steps_for(nodes, chooser.group), self.protocols or tuple(PROTOCOLS)
        ):
            limits, is_one_shot = chooser.limits, exchange == ONE_SHOT
            nbytes, group = case.size_bytes, chooser.group
            window, slice_bytes = limits.cut(protocol, nbytes, group, is_one_shot)
            if is_one_shot and not self.exchanges and nbytes > window:
                continue
            for blocks, threads, chunk in self._launches(limits, slice_bytes):
                if limits.holds(protocol, blocks, threads):
                    yield Shape(protocol, blocks, threads, chunk, radix, exchange)

    def _launches(self, limits: Limits, slice_bytes: int) -> Iterator[tuple[int, int, int]]:
        for blocks in self.blocks or _blocks(limits, slice_bytes):
            share = -(-slice_bytes // blocks)
            for chunk in self.chunk_bytes or _chunks(limits, share):
                busy = min(share, chunk) // BYTES_PER_THREAD
                for threads in self.threads or _threads(limits, busy):
                    yield blocks, threads, chunk


def _blocks(limits: Limits, slice_bytes: int) -> list[int]:
    """Up to one for each multiprocessor, and further, up to two."""
    useful = slice_bytes // limits.min_chunk_bytes
    usual = limits.blocks or limits.max_blocks
    return sorted({*_powers(1, useful, usual), *_powers(1, useful, limits.max_blocks)})


def _threads(limits: Limits, busy: int) -> list[int]:
    return _powers(limits.min_threads, busy, limits.max_threads)


def _chunks(limits: Limits, share: int) -> list[int]:
    """One chunk for the whole share of a block, and powers of two below it."""
    whole = -(-share // CHUNK_ALIGNMENT) * CHUNK_ALIGNMENT
    largest = max(limits.min_chunk_bytes, min(whole, limits.max_chunk_bytes))
    smaller = _powers(limits.min_chunk_bytes, largest, limits.max_chunk_bytes)
    return sorted({largest, *(size for size in smaller if size * MOST_CHUNKS >= share)})


def _powers(least: int, useful: int, most: int) -> list[int]:
    """Powers of two times `least` up to what is useful, and `most` itself if that is."""
    found = [least]
    while found[-1] * 2 <= min(useful, most):
        found.append(found[-1] * 2)
    return sorted({*found, most} if most <= useful else found)


def _once(shapes: Iterable[Shape], nodes: int, ranks_per_node: int) -> Iterator[Shape]:
    seen = set()
    for shape in shapes:
        launch = (
            replace(shape, radix=0, exchange=""),
            plan(nodes, ranks_per_node, shape.radix, shape.exchange),
        )
        if launch not in seen:
            seen.add(launch)
            yield shape
