"""How a process ended that did not end by itself, and the usual cause, in words."""

from __future__ import annotations

import resource
import signal

_HINTS: dict[int, str] = {
    signal.SIGKILL: "the kernel's out-of-memory killer is the usual cause: see `dmesg`",
    signal.SIGBUS: "a full /dev/shm is the usual cause: see `df -h /dev/shm`",
    signal.SIGXCPU: "it used up the CPU time that `ulimit -t` allows; raise that",
    signal.SIGILL: "a library or kernel built for another CPU is the usual cause",
}

_ROUNDED_S = 1.0  # the limit is in whole seconds


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
