"""nvrar-bench whose `mpi` takes $NVRAR_BENCH_SLOWED times as long per call, for ci/noise.py.

Every call spins on until it has lasted so much longer than it did: the spread of the samples grows
with them, as it does when a library becomes slower.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from typing import Any

from nvrar_bench.__main__ import main
from nvrar_bench.launch import initialize

load_mpi = initialize.load_mpi

SOURCE = """
#include "fabric/host_gate.cuh"

extern "C" int slowed(nvrar::Call* call, nvrar::u64 millionths) {
    nvrar::time_call(*call);
    const nvrar::u64 lasted = nvrar::now_ns() - call->started_ns;
    const nvrar::u64 end = call->started_ns + lasted + lasted * millionths / 1000000;
    while (nvrar::now_ns() < end) {}
    return static_cast<int>(call->result);
}
"""


@dataclass(frozen=True)
class Slowed:
    """The source, as the host compiler's cache wants it."""

    name: str = "slowed-call"
    source: str = SOURCE


def load_mpi_and_slow_down() -> None:
    """Only once MPI may be loaded may the modules be that use it; this is called several times."""
    load_mpi()
    from nvrar_bench.backends.mpi import MpiBackend

    prepare = MpiBackend.prepare
    if prepare.__module__ != __name__:
        MpiBackend.prepare = lambda *arguments: slowed(prepare(*arguments))  # type: ignore[method-assign]


def slowed(operation: Any) -> Any:
    """Return the operation with longer native calls, which are what is timed."""
    from nvrar_bench.devices.operation import NativeCall, address_of
    from nvrar_bench.toolchain import host
    from nvrar_bench.toolchain.structs import CCall

    library = host.load(host.build(Slowed()))  # type: ignore[arg-type]
    native = operation.native
    operation.inner = CCall(native.in_c(), 1)
    millionths = round((float(os.environ["NVRAR_BENCH_SLOWED"]) - 1) * 1e6)
    words = (ctypes.addressof(operation.inner), millionths)
    operation.native = NativeCall(address_of(library.slowed), words)
    return operation


if __name__ == "__main__":
    initialize.load_mpi = load_mpi_and_slow_down
    main()
