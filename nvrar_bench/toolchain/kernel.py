"""A kernel as data: which specialisation, for which fabric, and the source that asks for it."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from nvrar_bench.datatypes import DTYPES, OPS
from nvrar_bench.errors import Unavailable
from nvrar_bench.resources import data_dir

KERNELS_VARIABLE = "NVRAR_BENCH_KERNELS"
PROTOCOLS = {"signal": "Signal", "packet": "Packet"}


@dataclass(frozen=True)
class Kernel:
    """One specialisation of the all-reduce: names as on the command line."""

    dtype: str
    op: str
    protocol: str
    fabric: str

    @property
    def name(self) -> str:
        """A readable name, such as `float32-sum-signal-host`."""
        return f"{self.dtype}-{self.op}-{self.protocol}-{self.fabric}"

    @property
    def source(self) -> str:
        """C++ that includes the fabric and instantiates this specialisation."""
        entry = f"{DTYPES[self.dtype].cxx}, {OPS[self.op].cxx}, {PROTOCOLS[self.protocol]}"
        return (
            f'#include "fabric/{self.fabric}.cuh"\n'
            '#include "all_reduce.cuh"\n'
            f"NVRAR_ENTRY({entry})\n"
        )


@dataclass(frozen=True)
class StartGate:
    """The start gate of CPU ranks: kernels/fabric/host_gate.cuh, compiled like a kernel."""

    name: str = "start-gate-host"
    source: str = '#include "fabric/host_gate.cuh"\n'


@dataclass(frozen=True)
class CudaGate:
    """What holds a GPU's stream, and a launch of nothing: kernels/cuda_gate.cuh."""

    name: str = "cuda-gate"
    source: str = '#include "cuda_gate.cuh"\n'


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
        )


def kernels_dir() -> Path:
    """Return the folder of kernel sources: $NVRAR_BENCH_KERNELS, or the one that ships.

    Raises:
        Unavailable: $NVRAR_BENCH_KERNELS is set, but is no folder.
    """
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
