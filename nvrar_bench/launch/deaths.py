"""How a process ended that did not end by itself, and the usual cause, in words."""

from __future__ import annotations

import signal

_HINTS: dict[int, str] = {
    signal.SIGKILL: "the kernel's out-of-memory killer is the usual cause: see `dmesg`",
    signal.SIGBUS: "a full /dev/shm is the usual cause: see `df -h /dev/shm`",
    signal.SIGILL: "a library or kernel built for another CPU is the usual cause",
}


def killed(who: str, number: int, hint: str = "") -> str:
    """Say that signal `number` killed `who`, and why that usually is; `hint` where no row knows."""
    known = number in list(signal.Signals)
    name = signal.Signals(number).name if known else f"signal {number}"
    why = _HINTS.get(number, hint)
    return f"{who} was killed by {name}" + (f": {why}" if why else "")
