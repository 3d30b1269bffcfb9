"""Ties between a parent and its child, so that nothing outlives what started it.

Two settings of prctl(2): PR_SET_PDEATHSIG has the kernel send a process a signal when its parent
ends, however it ends; PR_SET_CHILD_SUBREAPER makes descendants whose parent has ended the
children of this process instead of init's.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def signal_when_parent_ends(number: int) -> None:
    """Have the kernel send this process signal `number` when its parent ends.

    Safe between fork and exec. A parent that had ended before is not noticed: compare
    os.getppid() with what it should be afterwards.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(number), 0, 0, 0)


def end_when_parent_ends() -> None:
    """Have the kernel end this process three seconds after its parent has ended.

    Works also while a thread keeps Python's lock, where no handler written in Python ever runs
    (mpi4py keeps it all through MPI_Init): the handler of SIGQUIT is the C library's alarm(), which
    takes the number of the signal, 3, for seconds, and SIGALRM ends the process. Signal handlers
    and this setting are gone in programs that this process starts.
    """
    library = ctypes.CDLL(None)
    handler = ctypes.cast(library.alarm, ctypes.c_void_p)
    library.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
    library.signal(int(signal.SIGQUIT), handler)
    signal_when_parent_ends(signal.SIGQUIT)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1), 0, 0, 0)


def children(pid: int) -> list[int]:
    """Return the pids of the children of process `pid`."""
    return [int(child) for text in _children(pid) for child in text.split()]


def descendants(pid: int) -> list[int]:
    """Return the pids of the children of process `pid`, their children, and so on."""
    return [each for child in children(pid) for each in (child, *descendants(child))]


def parent(pid: int) -> int | None:
    """Return the parent of process `pid`; None where it has ended."""
    fields = _fields(pid)
    return int(fields[1]) if fields else None


def _children(pid: int) -> list[str]:
    """Return the children of each thread of process `pid`, as far as the kernel tells."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # that thread has ended
            found.append(path.read_text())
    return found


def start_time(pid: int) -> str | None:
    """Return when process `pid` started, in clock ticks since boot; None where it has ended.

    A pid is used again later; the pair of pid and start time is not.
    """
    fields = _fields(pid)
    return fields[19] if fields else None


def _fields(pid: int) -> list[str]:
    """Fields 3 and up of /proc/pid/stat (proc_pid_stat(5)); the name in field 2 may hold blanks."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def pid_namespace() -> int:
    """Return a number that differs between containers whose pids mean different processes."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0
