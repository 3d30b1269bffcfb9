"""Asking other programs for a line or two, within a time limit."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Sequence

LIMIT_S = 10.0
_AFTER_KILL_S = 1.0


def answer(command: Sequence[str], seconds: float = LIMIT_S) -> str:
    """What `command` prints, on stdout and then on stderr; "" if it cannot run or is late.

    A script that is killed may leave a child behind that holds its output open: nobody waits for
    that one.
    """
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
    except OSError:
        return ""
    try:
        stdout, stderr = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=_AFTER_KILL_S)
        return ""
    return stdout + stderr


def first_line(command: Sequence[str], seconds: float = LIMIT_S) -> str:
    """The first line of `answer` that is not empty, or ""."""
    lines = (line.strip() for line in answer(command, seconds).splitlines())
    return next(filter(None, lines), "")
