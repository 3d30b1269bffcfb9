"""How far each rank of this host is, and which one the others wait for.

A rank that is stopped or hangs cannot be asked. So it writes each step into an anonymous file
(memfd_create(2)) that its process keeps open: the others find it in /proc/PID/fd. A step costs a
store, and nothing has to be cleaned up. All else is read from /proc, also of a process that has not
even begun. The ranks of a job on one host are the children of the launcher's daemon.
"""

from __future__ import annotations

import mmap
import os
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nvrar_bench.files import memory_file
from nvrar_bench.launch.environment import launcher, rank

if TYPE_CHECKING:  # it takes long to load, and only who looks at others needs it
    import psutil

_NAME = "nvrar-bench-progress"
_HEAD = struct.Struct("=Qd?")  # steps; when the last began, on CLOCK_MONOTONIC; has it given up
_TEXT_BYTES = 256
_BYTES = _HEAD.size + _TEXT_BYTES

_LOOK_S = 0.2  # a rank that waits polls: in so long it gets at least some time on a core
_NAMED = 3
_IS_STOPPED = "is stopped, by SIGSTOP or a debugger,"
# As psutil has them.
_STOPPED, _ENDED = ("stopped", "tracing-stop"), ("zombie", "dead")


@dataclass(frozen=True)
class Progress:
    """How far a rank is. All ranks of a job begin the same steps in the same order."""

    steps: int  # that it has begun
    began: float  # the present one, by the monotonic clock
    gave_up: bool  # it waits no longer
    what: str


_page: mmap.mmap | None = None


def open_page() -> int:
    """Give this process, and those that it forks, a page; return its file.

    `begin` and `give_up` do nothing before.
    """
    global _page
    file = memory_file(_NAME, _BYTES)  # left open: that is how others find it
    _page = mmap.mmap(file, _BYTES)
    return file


def begin(what: str | None = None) -> None:
    """Begin a step; without `what` another one of the same name. Takes less than a microsecond."""
    if _page is None:
        return
    if what is not None:
        text = what.encode(errors="replace")[:_TEXT_BYTES]
        _page[_HEAD.size :] = text.ljust(_TEXT_BYTES, b"\0")
    steps, _, _ = _HEAD.unpack_from(_page)
    _HEAD.pack_into(_page, 0, steps + 1, time.monotonic(), False)


def give_up() -> None:
    """Say that this rank waits no longer, and is not the one that is waited for."""
    if _page is not None:
        steps, began, _ = _HEAD.unpack_from(_page)
        _HEAD.pack_into(_page, 0, steps, began, True)


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


# ---- who is late -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """One rank of this host, as it looks from outside."""

    rank: int
    pid: int
    stopped: bool
    progress: Progress | None  # None: it has not come to MPI start-up
    idle: bool  # its main thread got no time on a core while it was watched


def late_ranks(elsewhere: str = "") -> str:
    """Say which ranks of this host are late and why; a few words, empty where nothing is known.

    To be called in a rank, which may be late itself. It takes 0.2 s. `elsewhere` names the ranks of
    other hosts, which are waited for where none of this host is late.
    """
    return verdict(_look(), socket.gethostname(), time.monotonic(), elsewhere)


def has_stopped_ranks() -> bool:
    """Whether a rank of this host is stopped. To be called in a rank."""
    return any(_state(process) in _STOPPED for process in _workers().values())


def stopped(number: int, pid: int) -> str:
    """Say that rank `number`, process `pid` of this host, is stopped, and in what."""
    seen = Seen(number, pid, stopped=True, progress=read(pid), idle=True)
    return _sentence(seen, _IS_STOPPED, socket.gethostname(), time.monotonic())


def verdict(seen: Sequence[Seen], host: str, now: float, elsewhere: str = "") -> str:
    """Say which of the ranks `seen` on `host` at `now` the others wait for, the surest first."""
    away = f"it waits for another host or the network between: {elsewhere}" if elsewhere else ""
    if len(seen) < 2:
        return away
    most = max((each.progress.steps for each in seen if each.progress), default=0)
    for how, late in (
        (_IS_STOPPED, [each for each in seen if each.stopped]),
        ("has not come to MPI start-up", [each for each in seen if not each.progress]),
        ("is late", [each for each in seen if each.progress and each.progress.steps < most]),
        ("sleeps", _sleepers(seen)),
    ):
        if late:
            return "; ".join(_sentence(each, how, host, now) for each in late[:_NAMED])
    return "; ".join(filter(None, (f"no rank on host {host} is behind the others", away)))


def _sleepers(seen: Sequence[Seen]) -> list[Seen]:
    """Those whose main thread sleeps, unless that is how all of them wait."""
    at_it = [each for each in seen if not (each.progress and each.progress.gave_up)]
    idle = [each for each in at_it if each.idle]
    return idle if len(idle) < len(seen) else []


def _sentence(seen: Seen, how: str, host: str, now: float) -> str:
    where = f"rank {seen.rank} on host {host} (pid {seen.pid}) {how}"
    if seen.progress is None:
        return where
    return f"{where} in {seen.progress.what}, for {now - seen.progress.began:.1f} s"


# ---- looking -----------------------------------------------------------------------------------


def _look() -> list[Seen]:
    found = _workers()
    if len(found) < 2:
        return []
    # Now, not later: the others may give up at this very moment, and end.
    states = {number: _state(process) for number, process in sorted(found.items())}
    alive = {number: found[number].pid for number in states if states[number] not in _ENDED}
    first = {pid: read(pid) for pid in alive.values()}
    before = {pid: _cpu_ns(pid) for pid in alive.values()}
    time.sleep(_LOOK_S)
    return [
        Seen(
            rank=number,
            pid=pid,
            stopped=states[number] in _STOPPED,
            progress=read(pid) or first[pid],
            idle=before[pid] is not None and before[pid] == _cpu_ns(pid),
        )
        for number, pid in alive.items()
    ]


def _workers() -> dict[int, psutil.Process]:
    """The process of each rank of this job on this host; none without a launcher."""
    import psutil

    found: dict[int, psutil.Process] = {}
    supervisor = psutil.Process().parent()
    daemon = supervisor and supervisor.parent()
    if daemon is None or launcher(os.environ) is None:
        return found
    for process in daemon.children(recursive=True):  # a parent comes before its children
        try:
            environ = process.environ()
        except psutil.Error:  # it has ended
            continue
        # A persistent daemon of PRRTE is the parent of several jobs.
        is_ours = environ.get("PMIX_NAMESPACE") == os.environ.get("PMIX_NAMESPACE")
        if is_ours and launcher(environ) is not None:
            number = rank(environ)
            # The rank is below its supervisor, or below a shell that has yet to start it.
            if number not in found or has_page(process.pid):
                found[number] = process
    return found


def _state(process: psutil.Process) -> str:
    import psutil

    try:
        return str(process.status())
    except psutil.NoSuchProcess:
        return "dead"


def _cpu_ns(pid: int) -> int | None:
    """Time that the main thread has had on a core; None where the kernel does not count it."""
    try:
        return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0])
    except (OSError, IndexError):
        return None
