"""What this machine is: its CPU, the memory that it can give, and what makes MPI slow on it."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from nvrar_bench.devices import cgroup
from nvrar_bench.problem import Problem

SHM = "/dev/shm"  # noqa: S108 - nothing is written there
# Open MPI 5 makes a segment of this size for each rank; where there is not so much room its ranks
# talk over TCP.
SHM_NEEDED = 16 << 20
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


def shm_room() -> tuple[int, int]:
    """Return free and all bytes of /dev/shm."""
    found = os.statvfs(SHM)
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize


def shm_problem() -> Problem | None:
    """Say so if Open MPI finds no room for its shared memory."""
    try:
        free, _ = shm_room()
    except OSError as error:
        return Problem(f"there is no {SHM} ({error.strerror})", f"mount -t tmpfs tmpfs {SHM}")
    if free >= SHM_NEEDED:
        return None
    return Problem(
        f"{SHM} has {free >> 20} MiB free, and Open MPI needs {SHM_NEEDED >> 20} MiB: its ranks "
        "talk over TCP, many times slower, and speed-ups over it mean nothing",
        f"remove old files from {SHM}; in a container, start it with --shm-size=1g",
    )


def quota_problem(ranks: int) -> Problem | None:
    """Say so if the control group gives less time than `ranks` busy ranks take."""
    quota = cgroup.cpu_quota()
    if quota is None or ranks <= quota:
        return None
    return Problem(
        f"{ranks} ranks may take the time of {quota:g} cores (CPU quota of the control group), so "
        "they are stopped for milliseconds again and again",
        "raise the limit (docker run --cpus, resources.limits.cpu of Kubernetes), or run fewer "
        "ranks",
        "; ",
    )
