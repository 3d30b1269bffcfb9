"""How far a rank is, in memory that the other processes of its host can read whatever it does.

A rank that is stopped or hangs cannot be asked. So it writes each step into an anonymous file
(memfd_create(2)) that its process keeps open: the others find it in /proc/PID/fd. A step costs a
store, and nothing has to be cleaned up.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from dataclasses import dataclass

_NAME = "nvrar-bench-progress"
_HEAD = struct.Struct("=Qd?")  # steps; when the last began, on CLOCK_MONOTONIC; has it given up
_TEXT_BYTES = 256
_BYTES = _HEAD.size + _TEXT_BYTES


@dataclass(frozen=True)
class Progress:
    """How far a rank is: how many steps it has begun, the present one, and when that began.

    All ranks of a job begin the same steps in the same order. `gave_up`: it waits no longer.
    """

    steps: int
    began: float
    gave_up: bool
    what: str


class Page:
    """This rank's progress; writing to it takes well under a microsecond."""

    def __init__(self) -> None:
        self._file = os.memfd_create(_NAME)  # left open: that is how others find it
        os.ftruncate(self._file, _BYTES)
        self._memory = mmap.mmap(self._file, _BYTES)
        self._steps = 0

    def begin(self, what: str | None = None) -> None:
        """Begin a step; without `what` another one of the same name."""
        if what is not None:
            text = what.encode(errors="replace")[:_TEXT_BYTES]
            self._memory[_HEAD.size :] = text.ljust(_TEXT_BYTES, b"\0")
        self._steps += 1
        _HEAD.pack_into(self._memory, 0, self._steps, time.monotonic(), False)

    def give_up(self) -> None:
        """Say that this rank waits no longer, and is not the one that is waited for."""
        steps, began, _ = _HEAD.unpack_from(self._memory)
        _HEAD.pack_into(self._memory, 0, steps, began, True)


_page: Page | None = None


def open_page() -> None:
    """Give this process, and those that it forks, a page; `begin` does nothing before."""
    global _page
    _page = Page()


def begin(what: str | None = None) -> None:
    """Begin a step on this rank's page, where there is one."""
    if _page is not None:
        _page.begin(what)


def give_up() -> None:
    """As Page.give_up, where there is one."""
    if _page is not None:
        _page.give_up()


def has_page(pid: int) -> bool:
    """Whether process `pid` keeps a page open."""
    return _path(pid) is not None


def read(pid: int) -> Progress | None:
    """Return how far process `pid` is; None where it has no page, or has begun nothing yet."""
    try:
        with open(_path(pid) or os.devnull, "rb") as file:
            data = file.read(_BYTES)
        steps, began, gave_up = _HEAD.unpack_from(data)
    except (OSError, struct.error):
        return None
    what = data[_HEAD.size :].rstrip(b"\0").decode(errors="replace")
    return Progress(steps, began, gave_up, what) if steps else None


def _path(pid: int) -> str | None:
    folder = f"/proc/{pid}/fd"
    try:
        for name in os.listdir(folder):
            path = f"{folder}/{name}"
            if os.readlink(path).startswith(f"/memfd:{_NAME} "):
                return path
    except OSError:
        return None
    return None
