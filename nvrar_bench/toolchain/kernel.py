"""A kernel as data: which specialisation, for which fabric, and the source that asks for it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from nvrar_bench.datatypes import DTYPES, OPS
from nvrar_bench.errors import Unavailable
from nvrar_bench.files import data_dir
from nvrar_bench.toolchain import structs
from nvrar_bench.toolchain.structs import layout_checks

KERNELS_VARIABLE = "NVRAR_BENCH_KERNELS"
PROTOCOLS = {"signal": "Signal", "packet": "Packet"}
DOUBLING, HALVING = EXCHANGES = ("doubling", "halving")  # between nodes: docs/protocol.md
ONE_SHOT = "one-shot"  # in one node: doubling between ranks that are nodes of their own

# Launch classes of a GPU's kernels: how many threads, of one block or of several, a multiprocessor
# is sure to hold. Its 65,536 registers leave a thread 255 of them in class 256, 128 in class 512
# and 64 in class 1024. No kernel that spills is built: _WIDE_KERNELS are those that do not in 128.
_NARROW, _WIDE = 256, 512
CLASSES = (_NARROW, _WIDE)
_LOOPBACK = (("loopback", "signal"), ("loopback", "packet"))
_WIDE_KERNELS = {"sm_80": _LOOPBACK, "sm_90": (*_LOOPBACK, ("nvshmem", "signal"))}


def launch_classes(fabric: str, arch: str) -> dict[str, tuple[int, ...]]:
    """Those that kernels of `fabric` are built for, by protocol, smallest first."""
    return {
        protocol: CLASSES if (fabric, protocol) in _WIDE_KERNELS.get(arch, ()) else (_NARROW,)
        for protocol in PROTOCOLS
    }


# What models reduce has kernels for the usual shapes of a run: ranks per node, and the radix of all
# steps between nodes (variant GN in docs/measurements/2026-11-28-h200).
USUAL_RANKS = (1, 2, 4, 8)
_USUAL_DTYPES, _USUAL_OP = ("float32", "float16", "bfloat16"), "sum"
_ONE_NODE, _DOUBLING_NODES = 1, 2

# Structs that the code takes, which the compiler compares with their twins.
_OF_ALL_FABRICS = (structs.CFailure, structs.CLayout, structs.CStep, structs.CArguments)
_OF_FABRIC = {"loopback": (structs.CVirtualRanks,), "hosts": (structs.CTransport,)}
_OF_CALLS = (structs.CNativeCall, structs.CCall, structs.CSequence)
_OF_STARTS = (structs.CFailure, structs.CGate, *_OF_CALLS, structs.CWorkMemory)


@dataclass(frozen=True)
class Kernel:
    """One specialisation of the all-reduce: names as on the command line."""

    dtype: str
    op: str
    protocol: str
    fabric: str
    launch_class: int | None = None  # one of `launch_classes`; None for CPUs
    exchange: str = DOUBLING  # kernels of CPUs have both
    ranks_per_node: int = 0  # and the radix of a kernel for one shape of a run; 0: for any
    radix: int = 0

    def for_run(self, ranks_per_node: int, radices: Sequence[int], is_folding: bool) -> Kernel:
        """The kernel for this shape of a run, if there is one; else this, which is for any."""
        radix = max(radices, default=_ONE_NODE)
        is_usual = (
            self.launch_class is not None
            and (self.dtype in _USUAL_DTYPES and self.op == _USUAL_OP)
            and self.exchange == DOUBLING
            and ranks_per_node in USUAL_RANKS
            and (radix <= _DOUBLING_NODES and not is_folding)
            and ranks_per_node * radix > 1
        )
        return replace(self, ranks_per_node=ranks_per_node, radix=radix) if is_usual else self

    def usual(self, ranks_per_node: int) -> tuple[Kernel, ...]:
        """Those for so many ranks per node, on one node and in doubling."""
        return tuple(
            self.for_run(ranks_per_node, radices, is_folding=False)
            for radices in ((), (_DOUBLING_NODES,))
        )

    @property
    def name(self) -> str:
        """A readable name, such as `int8-sum-signal-host` or `int8-sum-signal-nvshmem-256`."""
        bound = "" if self.launch_class is None else f"-{self.launch_class}"
        halving = "-halving" if self.exchange == HALVING else ""
        shape = f"-{self.ranks_per_node}-per-node-radix-{self.radix}" if self.radix else ""
        return f"{self.dtype}-{self.op}-{self.protocol}-{self.fabric}{bound}{halving}{shape}"

    @property
    def source(self) -> str:
        """C++ that includes the fabric and instantiates this specialisation."""
        entry = f"{DTYPES[self.dtype].cxx}, {OPS[self.op].cxx}, {PROTOCOLS[self.protocol]}"
        return (
            f"{self._bounds}"
            f'#include "fabric/{self.fabric}.cuh"\n'
            '#include "all_reduce.cuh"\n'
            f"NVRAR_ENTRY({entry})\n"
            f"{layout_checks(*_OF_ALL_FABRICS, *_OF_FABRIC.get(self.fabric, ()))}"
        )

    @property
    def _bounds(self) -> str:
        shape = (
            f"#define NVRAR_RANKS_PER_NODE {self.ranks_per_node}\n"
            f"#define NVRAR_RADIX {self.radix}\n"
        )
        if self.launch_class is None:
            return shape if self.radix else ""
        return (
            f"#define NVRAR_LAUNCH_CLASS {self.launch_class}\n"
            f"{self._loads}"
            f"#define NVRAR_HALVING {int(self.exchange == HALVING)}\n"
            f"{shape}"
        )

    @property
    def _loads(self) -> str:
        """From sm_100 on, NVSHMEM's functions leave fewer registers to what calls them."""
        loads = f"#define NVRAR_IN_FLIGHT {self._in_flight}\n"
        if self.fabric != "nvshmem" or (self.radix and not self._is_wide_packet):
            return loads
        few = 1 if self._is_wide or self.exchange == HALVING else 2
        return f"#if __CUDA_ARCH__ >= 1000\n#define NVRAR_IN_FLIGHT {few}\n#else\n{loads}#endif\n"

    @property
    def _in_flight(self) -> int:
        """Loads that a thread issues before it waits for the first: each holds registers.

        In 128 registers, four fit beside what float32 and integers take to accumulate; wider
        accumulators, packets of any shape, NVSHMEM's calls and halving leave room for two; halving
        over NVSHMEM, or of packets in wider accumulators, for one.
        """
        if self.launch_class != _WIDE:
            return 4
        is_network, is_halving = self.fabric == "nvshmem", self.exchange == HALVING
        if is_halving and (is_network or self._is_wide_packet):
            return 1
        is_any_packet = self.protocol == "packet" and not self.radix
        return 2 if is_network or is_halving or is_any_packet or self._is_wide else 4

    @property
    def _is_wide(self) -> bool:
        """Whether it accumulates in a wider type."""
        row = DTYPES[self.dtype]
        return row.is_float and row.itemsize < 4

    @property
    def _is_wide_packet(self) -> bool:
        return self.protocol == "packet" and self._is_wide


@dataclass(frozen=True)
class FixedSource:
    """What is compiled as it stands."""

    name: str
    source: str


# The start gate, timed calls and the work of CPU ranks.
START_GATE = FixedSource(
    "start-gate-host",
    '#include "fabric/host_gate.cuh"\n#include "work.cuh"\n' + layout_checks(*_OF_STARTS),
)
# What holds a GPU's stream, a launch of nothing, and the work between all-reduces.
CUDA_GATE = FixedSource(
    "cuda-gate",
    '#include "cuda_gate.cuh"\n#include "work.cuh"\n' + layout_checks(structs.CWorkMemory),
)


@dataclass(frozen=True)
class Elements:
    """What makes and checks elements of one type on a GPU, in one cubin.

    kernels/problem.cuh and verification.cuh: to read their headers takes a compiler three times as
    long as to compile what is in them, so they are compiled together.
    """

    dtype: str

    @property
    def name(self) -> str:
        """What people call it."""
        return f"elements-{self.dtype}"

    @property
    def source(self) -> str:
        """C++ that includes both headers and names the type."""
        row = DTYPES[self.dtype]
        return (
            '#include "problem.cuh"\n#include "verification.cuh"\n'
            f"NVRAR_PROBLEM({row.name}, {row.cxx})\n"
            f"NVRAR_VERIFICATION({row.name}, {row.cxx})\n"
            f"{layout_checks(structs.CFormula)}"
        )


def kernels_dir() -> Path:
    """The folder of kernel sources: $NVRAR_BENCH_KERNELS (Unavailable), or the one that ships."""
    override = os.environ.get(KERNELS_VARIABLE)
    if not override:
        return data_dir("kernels")
    if not Path(override).is_dir():
        raise Unavailable(f"{KERNELS_VARIABLE}={override}: no such folder; unset it or name one")
    return Path(override)


@cache
def sources_digest(folder: Path) -> str:
    """SHA-256 over the names and contents of every kernel source, in hexadecimal."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.cuh")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder)} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()
