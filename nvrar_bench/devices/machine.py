"""What this machine is: its CPU, and the memory that it can still give."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from nvrar_bench.devices import cgroup

_CPUS = Path("/sys/devices/system/cpu")


def cpu_model() -> str:
    """The CPU's name, for the record."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def usable_cores() -> int:
    """Cores that this process may use: two hardware threads of a core count once.

    No more than the time that its control group gives it, but one at least.
    """
    mine = {_threads_of(cpu) for cpu in os.sched_getaffinity(0)}
    quota = cgroup.cpu_quota()
    return max(1, len(mine) if quota is None else min(len(mine), int(quota)))


def _threads_of(cpu: int) -> str:
    """Name the core of a hardware thread by all of its threads; by itself where nobody says."""
    folder = _CPUS / f"cpu{cpu}" / "topology"
    try:
        return (folder / "thread_siblings_list").read_text().strip()
    except OSError:
        return str(cpu)


def available_memory() -> int:
    """Bytes this process can still get: MemAvailable, or what is left of its groups' limits."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    left = cgroup.memory_left()
    return free if left is None else min(free, left)
