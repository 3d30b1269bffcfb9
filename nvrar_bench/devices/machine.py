"""What this machine is: CPU, caches, the memory that it can give, what makes MPI slow on it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nvrar_bench.errors import Problem

SHM = "/dev/shm"  # noqa: S108 - nothing is written there
# Open MPI 5 makes a segment of this size for each rank; where there is not so much room its ranks
# talk over TCP.
SHM_NEEDED = 16 << 20
CPUS = Path("/sys/devices/system/cpu")


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
    quota = cpu_quota()
    return max(1, len(mine) if quota is None else min(len(mine), int(quota)))


def _threads_of(cpu: int) -> str:
    """Name the core of a hardware thread by all of its threads; by itself where nobody says."""
    folder = CPUS / f"cpu{cpu}" / "topology"
    try:
        return (folder / "thread_siblings_list").read_text().strip()
    except OSError:
        return str(cpu)


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


def available_memory() -> int:
    """Bytes this process can still get: MemAvailable, or what is left of its groups' limits."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    left = memory_left()
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
    quota = cpu_quota()
    if quota is None or ranks <= quota:
        return None
    return Problem(
        f"{ranks} ranks may take the time of {quota:g} cores (CPU quota of the control group), so "
        "they are stopped for milliseconds again and again",
        "raise the limit (docker run --cpus, resources.limits.cpu of Kubernetes), or run fewer "
        "ranks",
        "; ",
    )


_OWN_GROUPS = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")
# Files of the limit and of what is used, and in memory.stat the files' pages that can be dropped.
_MEMORY = ("memory.max", "memory.current", "inactive_file")
_MEMORY_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def cpu_quota() -> float | None:
    """Return how many cores' worth of time the process may take; None if there is no limit."""
    found = [_cores_of(*_words(folder / "cpu.max")) for folder in _folders("")]
    for folder in _folders("cpu"):
        quota, period = _words(folder / "cpu.cfs_quota_us"), _words(folder / "cpu.cfs_period_us")
        found.append(_cores_of(*quota, *period))
    return min((cores for cores in found if cores is not None), default=None)


def memory_left() -> int | None:
    """Return how many bytes the process may still take; None if there is no limit."""
    found = [_left(folder, *_MEMORY) for folder in _folders("")]
    found += [_left(folder, *_MEMORY_1) for folder in _folders("memory")]
    return min((left for left in found if left is not None), default=None)


def _folders(controller: str) -> Iterator[Path]:
    """Yield this process's group of a controller and those above it; of version 2 for ``."""
    root = _GROUPS / controller
    path = _own_path(controller)
    if path is None:
        return
    while True:
        yield root / path.lstrip("/")
        if path in ("/", ""):
            return
        path = path.rpartition("/")[0]


def _own_path(controller: str) -> str | None:
    try:
        lines = _OWN_GROUPS.read_text().splitlines()
    except OSError:
        return None
    for line in lines:  # 0::/user.slice/job or 4:cpu,cpuacct:/job
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(",") and ".." not in path:
            return path
    return None


def _cores_of(quota: str = "", period: str = "") -> float | None:
    """Return quota / period; `max` and -1 are no limit."""
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def _left(folder: Path, limit: str, used: str, droppable: str) -> int | None:
    words = [*_words(folder / limit), *_words(folder / used)]
    if len(words) != 2 or not all(word.isdigit() for word in words):
        return None
    stat = _words(folder / "memory.stat")
    cached = int(dict(zip(stat[::2], stat[1::2], strict=False)).get(droppable, 0))
    return max(0, int(words[0]) - int(words[1]) + cached)


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []
