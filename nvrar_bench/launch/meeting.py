"""Ranks that share cores load packages in turns, and sleep until all have come to MPI_Init.

Hundreds that load packages at once take each other's caches, and then need twice as much time.
MPI_Init polls for ranks that are still starting, on the cores that those start on. So the first
rank of a host to come opens a socket in the abstract namespace (unix(7)), which leaves no file
behind; the others connect, and all sleep until it closes that. Nothing depends on either: where
ranks do not find each other, they load at once and wait in MPI_Init.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time

_GAP_S = 3.0  # without anybody coming, at least: the others do not meet here
_TRIES, _RETRY_S = 5, 0.01  # between bind and listen the first rank hears nobody
_TURN_S, _LOOK_S = 2.0, 0.001  # times ranks per core: for a turn to come, between two looks
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid


_turn: socket.socket | None = None


def take_turn(job: str, rank: int, ranks: int | None) -> None:
    """Wait until one of `ranks` on this host may load packages, as many at once as it has cores.

    The turn is a name that one socket can have: it ends with the process at the latest.
    """
    global _turn
    cores = len(os.sched_getaffinity(0))
    if ranks is None or ranks <= cores:
        return
    turn = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    end = time.monotonic() + _TURN_S * ranks / cores
    while time.monotonic() < end:
        try:
            turn.bind(f"\0nvrar-bench-{job}-turn-{rank % cores}")
        except OSError:
            time.sleep(_LOOK_S * ranks / cores)
        else:
            break
    _turn = turn


def end_turn() -> None:
    """Let the next rank load its packages. To be called in each process that has the turn."""
    if _turn is not None:
        _turn.close()


def meet(job: str, ranks: int | None) -> None:
    """Wait for all `ranks` of `job` on this host; not at all where each has a core."""
    if ranks is None or ranks <= len(os.sched_getaffinity(0)):
        return
    for _ in range(_TRIES):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as meeting:
            if _has_met(meeting, f"\0nvrar-bench-{job}-meeting", ranks):
                return
        time.sleep(_RETRY_S)


def _has_met(meeting: socket.socket, name: str, ranks: int) -> bool:
    try:
        meeting.bind(name)
    except OSError:  # another rank was first
        return _has_attended(meeting, name)
    meeting.listen(ranks)
    meeting.settimeout(max(_GAP_S, _start_took_s()))
    with contextlib.ExitStack() as guests, contextlib.suppress(TimeoutError):
        for _ in range(ranks - 1):
            guests.enter_context(meeting.accept()[0])
    return True


def _start_took_s() -> float:
    """How long this rank took to come, which says how long others may take; by its supervisor."""
    import psutil  # in the first rank alone

    began: float = psutil.Process(os.getppid()).create_time()
    return time.time() - began


def _has_attended(meeting: socket.socket, name: str) -> bool:
    try:
        meeting.connect(name)
    except OSError:
        return False
    credentials = meeting.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    if _CREDENTIALS.unpack(credentials)[1] == os.getuid():  # abstract names are open to all users
        with contextlib.suppress(OSError):
            meeting.recv(1)  # it ends when the first rank closes, however that ends
    return True
