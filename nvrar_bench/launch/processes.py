"""Processes: ties between parent and child, waiting for signals, how one ended.

Nothing outlives what started it, by two settings of prctl(2): PR_SET_PDEATHSIG has the kernel send
a process a signal when its parent ends, however it ends; PR_SET_CHILD_SUBREAPER makes descendants
whose parent has ended the children of this process instead of init's.

Python runs signal handlers on the main thread, between two bytecodes. A main thread inside
MPI_Barrier never gets there; the byte that the C-level handler writes to the wake-up descriptor
does, and any thread can wait for it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
import socket
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import IO, Any

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

Readable = socket.socket | IO[bytes]
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_HINTS: dict[int, str] = {
    signal.SIGKILL: "the kernel's out-of-memory killer is the usual cause: see `dmesg`",
    signal.SIGBUS: "a full /dev/shm is the usual cause: see `df -h /dev/shm`",
    signal.SIGXCPU: "it used up the CPU time that `ulimit -t` allows; raise that",
    signal.SIGILL: "a library or kernel built for another CPU is the usual cause",
}

_ROUNDED_S = 1.0  # the limit is in whole seconds


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


def start_time(pid: int) -> str | None:
    """Return when process `pid` started, in clock ticks since boot; None where it has ended.

    A pid is used again later; the pair of pid and start time is not. psutil gives seconds on the
    wall clock, which two processes may read differently.
    """
    try:  # field 22 of proc_pid_stat(5); the name in field 2 may hold blanks
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None


def pid_namespace() -> int:
    """Return a number that differs between containers whose pids mean different processes."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0


# ---- signals -----------------------------------------------------------------------------------


def _nothing(number: int, frame: FrameType | None) -> None:
    """Do nothing: Python needs a handler before it writes to the wake-up descriptor."""


class Signals:
    """The signals this process has received, as something that select() can wait for.

    Create and `close` it on the main thread; `wait` works on any one thread. A signal that was
    ignored when the process started (SIGHUP under nohup) stays ignored.
    """

    def __init__(self, numbers: Iterable[signal.Signals]) -> None:
        self._receive, self._send = socket.socketpair()
        self._receive.setblocking(False)
        self._send.setblocking(False)
        self._previous_fd = signal.set_wakeup_fd(self._send.fileno(), warn_on_full_buffer=False)
        self._numbers = [n for n in numbers if signal.getsignal(n) is not signal.SIG_IGN]
        self._previous: dict[signal.Signals, Any] = {
            number: signal.signal(number, _nothing) for number in self._numbers
        }

    def wait(
        self, timeout: float | None, others: Iterable[Readable] = ()
    ) -> tuple[list[signal.Signals], list[Readable]]:
        """Wait at most `timeout` seconds; return the signals received and the readable `others`."""
        ready = select.select([self._receive, *others], [], [], timeout)[0]
        return self._received(), [each for each in ready if each is not self._receive]

    def wake(self) -> None:
        """Have a `wait` on another thread return now."""
        self._send.send(b"\0")

    def _received(self) -> list[signal.Signals]:
        data = b""
        with contextlib.suppress(BlockingIOError):
            data = self._receive.recv(4096)
        return [signal.Signals(number) for number in data if number in self._numbers]

    def close(self) -> None:
        """Put back the handlers that were there before."""
        signal.set_wakeup_fd(self._previous_fd)
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._receive.close()
        self._send.close()

    def close_in_child(self) -> None:
        """After a fork: let go of the parent's descriptors, and let signals end this process."""
        signal.set_wakeup_fd(-1)
        for number in self._numbers:
            signal.signal(number, signal.SIG_DFL)
        self._receive.close()
        self._send.close()


def killed(who: str, number: int, hint: str = "") -> str:
    """Say that signal `number` killed `who`, and why that usually is; `hint` where no row knows."""
    known = number in list(signal.Signals)
    name = signal.Signals(number).name if known else f"signal {number}"
    why = _HINTS[signal.SIGXCPU] if _out_of_time(number) else _HINTS.get(number, hint)
    return f"{who} was killed by {name}" + (f": {why}" if why else "")


def _out_of_time(number: int) -> bool:
    """Whether the kernel killed an ended child at the hard limit of CPU time, as it does there."""
    limit = resource.getrlimit(resource.RLIMIT_CPU)[1]
    if number != signal.SIGKILL or limit == resource.RLIM_INFINITY:
        return False
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime >= limit - _ROUNDED_S
