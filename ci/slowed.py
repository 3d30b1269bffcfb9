"""nvrar-bench whose `mpi` takes $NVRAR_BENCH_SLOWED times as long per call, for ci/noise.py.

Every call spins on until it has lasted so much longer than it did: the spread of the samples grows
with them, as it does when a library becomes slower.
"""

from __future__ import annotations

import os
import time
from typing import Any

from nvrar_bench.__main__ import main
from nvrar_bench.launch import initialize

load_mpi = initialize.load_mpi


def load_mpi_and_slow_down() -> None:
    """Only once MPI may be loaded may the modules be that use it; this is called several times."""
    load_mpi()
    from nvrar_bench.backends.mpi import MpiBackend

    prepare = MpiBackend.prepare
    if prepare.__module__ != __name__:
        MpiBackend.prepare = lambda *arguments: slowed(prepare(*arguments))  # type: ignore[method-assign]


def slowed(operation: Any) -> Any:
    """Return the operation with longer calls."""
    factor, clock = float(os.environ["NVRAR_BENCH_SLOWED"]), time.perf_counter_ns
    launch = operation.launch

    def slow_launch() -> None:
        start = clock()
        launch()
        end = start + round((clock() - start) * factor)
        while clock() < end:
            pass

    operation.launch = slow_launch
    return operation


if __name__ == "__main__":
    initialize.load_mpi = load_mpi_and_slow_down
    main()
