"""What may take too long, within a time limit: calls that wait, and answers of other programs."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from nvrar_bench.errors import TimedOut

_T = TypeVar("_T")
LIMIT_S = 10.0
_AFTER_KILL_S = 1.0


def bounded(phase: str, seconds: float, action: Callable[[], _T]) -> _T:
    """Return what `action` returns; it runs on a thread, which is left behind when it is late.

    TimedOut: `action` took longer than `seconds`.
    """
    results: list[_T] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(action())
        except Exception as error:  # handed over to the caller
            errors.append(error)

    thread = threading.Thread(target=run, name=phase, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise TimedOut(f"waited {seconds:g} s in {phase}")
    return results[0]


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
