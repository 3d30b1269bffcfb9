"""A kernel as data: which specialisation, for which fabric, and the source that asks for it."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
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

    @property
    def name(self) -> str:
        """A readable name, such as `int8-sum-signal-host` or `int8-sum-signal-nvshmem-256`."""
        bound = "" if self.launch_class is None else f"-{self.launch_class}"
        halving = "-halving" if self.exchange == HALVING else ""
        return f"{self.dtype}-{self.op}-{self.protocol}-{self.fabric}{bound}{halving}"

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
        if self.launch_class is None:
            return ""
        return (
            f"#define NVRAR_LAUNCH_CLASS {self.launch_class}\n"
            f"#define NVRAR_IN_FLIGHT {self._in_flight}\n"
            f"#define NVRAR_HALVING {int(self.exchange == HALVING)}\n"
        )

    @property
    def _in_flight(self) -> int:
        """Loads that a thread issues before it waits for the first: each holds registers.

        In 128 registers, four fit beside what float32 and integers take to accumulate; wider
        accumulators, NVSHMEM's calls and halving leave room for two, the last two together for one.
        """
        row = DTYPES[self.dtype]
        if self.launch_class != _WIDE:
            return 4
        is_network, is_halving = self.fabric == "nvshmem", self.exchange == HALVING
        if is_network and is_halving:
            return 1
        return 2 if is_network or is_halving or (row.is_float and row.itemsize < 4) else 4


@dataclass(frozen=True)
class StartGate:
    """Start gate, timed calls and work of CPU ranks, compiled like a kernel."""

    name: str = "start-gate-host"
    source: str = '#include "fabric/host_gate.cuh"\n#include "work.cuh"\n' + layout_checks(
        *_OF_STARTS
    )


@dataclass(frozen=True)
class CudaGate:
    """What holds a GPU's stream, a launch of nothing, and the work between all-reduces."""

    name: str = "cuda-gate"
    source: str = '#include "cuda_gate.cuh"\n#include "work.cuh"\n' + layout_checks(
        structs.CWorkMemory
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
