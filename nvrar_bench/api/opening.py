"""Opening a backend from Python."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from nvrar_bench.api.all_reduce import AllReduce
from nvrar_bench.backends import require_known
from nvrar_bench.backends.nvrar.tuning import Tuning, table_for
from nvrar_bench.backends.registry import open_backends
from nvrar_bench.devices import require_cpu
from nvrar_bench.devices.cpu import CpuDevice
from nvrar_bench.errors import UsageError
from nvrar_bench.plan import Protocol
from nvrar_bench.world import World, join

if TYPE_CHECKING:
    from mpi4py import MPI


def open(  # noqa: A001 - nvrar_bench.open reads as it should
    name: str,
    comm: MPI.Comm | World,
    device: str = "cpu",
    nodes: int | None = None,
    protocol: Protocol = "auto",
    timeout: float = 60.0,
    tuning: str | Path | None = None,
) -> AllReduce:
    """Open backend `name` (`nvrar`, `mpi`, `fake`) for the ranks of `comm`; collective.

    Args:
        name: a backend.
        comm: its ranks take part; or a World of ranks that met otherwise.
        device: `cpu`.
        nodes: virtual nodes to split the ranks of one machine into; None for the real ones.
        protocol: NVRAR's: `auto`, `signal` or `packet`.
        timeout: seconds that a call waits for a peer.
        tuning: a table of `nvrar-bench tune`, which `auto` follows; None for the one that
            $NVRAR_BENCH_TUNING names, if it does. Python's warnings say what makes it doubtful.

    Raises:
        UsageError: a name, protocol, number of nodes or timeout that is not allowed, or a table
            that is none, or was made for something else.
        Unavailable: the backend or device is not there.
    """
    require_known([name])
    require_cpu(device)
    if protocol not in ("auto", "signal", "packet"):
        raise UsageError(f"protocol {protocol}: allowed: auto, signal, packet")
    if nodes is not None and nodes < 1:
        raise UsageError(f"nodes {nodes}: allowed: 1 and more")
    if tuning is not None and name != "nvrar":
        raise UsageError(f"tuning {tuning}: {name} has no launches to tune; allowed: with nvrar")
    if not 0 < timeout < math.inf:
        raise UsageError(f"timeout {timeout}: allowed: a number of seconds above 0")
    table = table_for(tuning, "tuning") if name == "nvrar" else None
    world = comm if isinstance(comm, World) else join(comm)
    world = world.with_nodes(nodes) if nodes else world
    cpu = CpuDevice(world, timeout)
    (backend,), _ = open_backends([name], world, cpu, timeout, Tuning(table=table))
    for text in backend.doubts:
        warnings.warn(text, stacklevel=2)
    return AllReduce(backend, cpu, protocol)
