"""What the control groups of this process allow: batch systems and containers set them.

Limits hold from the process's own group up to the root, so the tightest counts. Version 2 has one
tree, version 1 one for each controller; a machine may have both. In a container the path may name
groups outside of it: what is not there sets no limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_OWN = Path("/proc/self/cgroup")
_ROOT = Path("/sys/fs/cgroup")
# Files of the limit and of what is used, and in memory.stat the files' pages that can be dropped.
_MEMORY = ("memory.max", "memory.current", "inactive_file")
_MEMORY_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def cpu_quota() -> float | None:
    """Return how many cores' worth of time the process may take; None if there is no limit."""
    found = [_cores(*_words(folder / "cpu.max")) for folder in _folders("")]
    for folder in _folders("cpu"):
        quota, period = _words(folder / "cpu.cfs_quota_us"), _words(folder / "cpu.cfs_period_us")
        found.append(_cores(*quota, *period))
    return min((cores for cores in found if cores is not None), default=None)


def memory_left() -> int | None:
    """Return how many bytes the process may still take; None if there is no limit."""
    found = [_left(folder, *_MEMORY) for folder in _folders("")]
    found += [_left(folder, *_MEMORY_1) for folder in _folders("memory")]
    return min((left for left in found if left is not None), default=None)


def _folders(controller: str) -> Iterator[Path]:
    """Yield this process's group of a controller and those above it; of version 2 for ``."""
    root = _ROOT / controller
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
        lines = _OWN.read_text().splitlines()
    except OSError:
        return None
    for line in lines:  # 0::/user.slice/job or 4:cpu,cpuacct:/job
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(",") and ".." not in path:
            return path
    return None


def _cores(quota: str = "", period: str = "") -> float | None:
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
