"""What ranks print, on its way from the launcher to standard output."""

from __future__ import annotations

import sys
from threading import Thread
from typing import IO

from nvrar_bench.errors import SPOKEN, OutputError, ReaderGone

_CHUNK = 1 << 16


class Passage:
    """Passes on what comes out of a pipe, on a thread: whoever reads standard output may be slow.

    What standard output does not take is read all the same, so that the ranks come to their end.
    """

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._error: OutputError | None = None
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self, code: int, seconds: float | None = None) -> None:
        """Wait until all is passed on, or `seconds`; `code` is what the ranks ended with.

        Raises:
            OutputError: not all of it was, and nothing worse has happened.
        """
        self._thread.join(seconds)
        if self._error is None:
            return
        if code == 0:
            raise self._error
        if not isinstance(self._error, ReaderGone):
            sys.stderr.write(f"{SPOKEN}{self._error}\n")

    def _run(self) -> None:
        while data := self._pipe.read(_CHUNK):
            if self._error is None:
                self._pass_on(data)

    def _pass_on(self, data: bytes) -> None:
        try:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        except OutputError as error:
            self._error = error
