"""Times C functions on CPU ranks: gate, clock, calls, clock, and no Python between them.

Python would be in the sample with more than its instructions: where messages fill the caches, the
interpreter has to be fetched anew for every call.

Caches are cold where a rank walks, before a sample, over its share of twice the last-level cache:
data of before is then out of that cache, which the ranks beside it share, and out of the rank's own
caches, each of which is smaller than the share.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from nvrar_bench.devices.base import Prepare, Timer
from nvrar_bench.devices.gate import SharedGate, load_library
from nvrar_bench.devices.operation import NativeCall, Operation, address_of
from nvrar_bench.timing.loop import Gate, Timings, per_call, time_calls
from nvrar_bench.toolchain.structs import CCall
from nvrar_bench.world import World

CPUS = Path("/sys/devices/system/cpu")
UNKNOWN_BYTES = 64 << 20  # where neither sysfs nor sysconf says
_OVER = 2  # times the last-level cache
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_NAMES = ("SC_LEVEL4_CACHE_SIZE", "SC_LEVEL3_CACHE_SIZE", "SC_LEVEL2_CACHE_SIZE")


@dataclass(frozen=True)
class Caches:
    """The caches that a rank may use."""

    last_bytes: int  # of a last-level cache
    own_bytes: int  # of the largest cache below it; 0 if there is none
    last: frozenset[str]  # last-level ones of the cores it may run on, each as its CPUs
    source: str  # who says so: `sysfs`, `sysconf`, or `assumed`


def caches_of(cpus: set[int], root: Path = CPUS) -> Caches:
    """The caches of `cpus`: as sysfs lists them, else as sysconf does, else 64 MiB."""
    levels: dict[int, dict[str, int]] = {}
    for cpu in cpus:
        for folder in sorted(root.glob(f"cpu{cpu}/cache/index*")):
            _add(folder, levels)
    if levels:
        *below, last = [levels[level] for level in sorted(levels)]
        own = max((size for one in below for size in one.values()), default=0)
        return Caches(max(last.values()), own, frozenset(last), "sysfs")
    size = _by_sysconf()
    everything = frozenset({"all"})
    if size:
        return Caches(size, 0, everything, "sysconf")
    return Caches(UNKNOWN_BYTES, 0, everything, "assumed")


def _add(folder: Path, levels: dict[int, dict[str, int]]) -> None:
    """Read one cache, unless it holds instructions or says nothing that can be read."""
    try:
        kind, level, size, shared = (
            (folder / name).read_text().strip()
            for name in ("type", "level", "size", "shared_cpu_list")
        )
        nbytes = int(size[:-1]) * _UNITS[size[-1]] if size[-1:] in _UNITS else int(size)
        if kind != "Instruction" and nbytes > 0:
            levels.setdefault(int(level), {})[shared] = nbytes
    except (OSError, ValueError):
        return


def _by_sysconf() -> int:
    """The largest level that it knows, in bytes; 0 if none."""
    for name in _NAMES:
        try:
            size = os.sysconf(name)
        except (ValueError, OSError):
            continue
        if size > 0:
            return size
    return 0


def share_bytes(mine: Caches, everyone: list[Caches]) -> int:
    """What this rank walks over so that with `everyone` of its machine each cache is turned over.

    Ranks that may use k last-level caches are taken to be spread over them. None walks over more
    than turns over one cache alone, nor less than turns over its own.
    """
    beside = sum(bool(mine.last & other.last) for other in everyone)
    whole = _OVER * mine.last_bytes
    return max(min(whole, -(-whole * len(mine.last) // beside)), _OVER * mine.own_bytes)


class CacheFlush:
    """Memory that is walked over, `nbytes` long."""

    def __init__(self, caches: Caches, nbytes: int) -> None:
        self._caches, self._memory = caches, np.zeros(-(-nbytes // 8), np.uint64)
        self.walked = 0  # bytes, of all flushes

    @classmethod
    def of_ranks(cls, host_comm: Any) -> CacheFlush:
        """The share of this rank among the ranks of its machine. Collective over them."""
        mine = caches_of(os.sched_getaffinity(0))
        return cls(mine, share_bytes(mine, host_comm.allgather(mine)))

    def __call__(self) -> None:
        """Read and write every word."""
        self._memory += 1
        self.walked += self._memory.nbytes

    def after(self, prepare: Prepare) -> Prepare:
        """`prepare`, and then the flush: what it wrote is cold as well."""

        def prepare_and_flush() -> None:
            prepare()
            self()

        return prepare_and_flush

    def facts(self) -> dict[str, Any]:
        """Bytes that this rank walks over before each sample, and the cache that they are for."""
        return {
            "cold_cache": True,
            "cold_cache_walked_bytes": self._memory.nbytes,
            "last_level_cache_bytes": self._caches.last_bytes,
            "last_level_cache_from": self._caches.source,
        }


class CpuTimer(Timer):
    """Of one rank: native calls where the operation has one, else launches from Python.

    With `flush`, caches are cold at the start of each sample.
    """

    def __init__(self, world: World, flush: CacheFlush | None) -> None:
        self._world, self._flush = world, flush

    @cached_property
    def _library(self) -> ctypes.CDLL:
        """Collective over the machine at the first native call; the start gate has built it."""
        return load_library(self._world)

    @property
    def nothing(self) -> NativeCall | None:
        """A function that does nothing; None where ranks are virtual, which Python times."""
        if self._world.virtual_ranks:
            return None
        return NativeCall(address_of(self._library.nvrar_do_nothing))

    def time_calls(
        self, operation: Operation, prepare: Prepare, gate: Gate, timings: Timings, batch: int = 1
    ) -> None:
        ready = prepare if self._flush is None else self._flush.after(prepare)
        if operation.native and not self._world.virtual_ranks:
            self._time_native(
                CCall(operation.native.in_c(), batch), operation, ready, gate, timings
            )
        else:
            time_calls(operation.launch, ready, gate, operation.clock, timings, batch)

    def _time_native(
        self, call: CCall, operation: Operation, prepare: Prepare, gate: Gate, timings: Timings
    ) -> None:
        """As timing.loop.time_calls, of `call`, a batch of the operation's native calls."""
        durations, starts, agreed = timings.durations, timings.starts, timings.agreed
        batch = int(call.calls)  # of Python, once: no lookup in C's struct stands in the loop
        time_call = self._through(gate, ctypes.byref(call))
        for i in range(len(timings)):
            prepare()
            operation.begin_native(batch)
            time_call()
            durations[i] = per_call(call.ended_ns - call.started_ns, batch)
            starts[i], agreed[i] = call.started_ns, gate.agreed_ns
            operation.end_native(ctypes.c_int(call.result).value)

    def _through(self, gate: Gate, call: object) -> Callable[[], None]:
        time_call = self._library.nvrar_time_call
        if isinstance(gate, SharedGate):
            return lambda: gate.time_call(call)

        def pass_and_time() -> None:
            gate()
            time_call(None, call)

        return pass_and_time


@cache
def mpi_library() -> ctypes.CDLL:
    """The MPI library that mpi4py is linked with: a handle finds what it depends on, too."""
    from mpi4py import MPI

    return ctypes.CDLL(MPI.__file__)
