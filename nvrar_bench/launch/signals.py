"""Waiting for signals and for file descriptors at the same time.

Python runs signal handlers on the main thread, between two bytecodes. A main thread inside
MPI_Barrier never gets there; the byte that the C-level handler writes to the wake-up descriptor
does, and any thread can wait for it.
"""

from __future__ import annotations

import contextlib
import select
import signal
import socket
from collections.abc import Iterable
from types import FrameType
from typing import IO, Any

Readable = socket.socket | IO[bytes]
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


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
