"""Leaving out what a launcher adds to the message of the rank that failed."""

from __future__ import annotations

from collections.abc import Callable

_RULE = b"-" * 74  # the line above and below each of Open MPI's messages


class BannerFilter:
    """Passes a launcher's stderr on to `write`, less each block between rules holding `phrase`.

    Everything outside such blocks is passed on as it comes, also half a line.
    """

    def __init__(self, phrase: str, write: Callable[[bytes], object]) -> None:
        self._phrase = phrase.encode()
        self._write = write
        self._rest = b""  # what may be the beginning of a rule
        self._block: bytes | None = None  # from a rule on

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._line(line + b"\n")
        if self._rest and self._block is None and not _RULE.startswith(self._rest.rstrip(b"\r")):
            self._write(self._rest)
            self._rest = b""

    def close(self) -> None:
        """Pass on what was kept back: the stream is at its end."""
        self._write((self._block or b"") + self._rest)
        self._block, self._rest = None, b""

    def _line(self, line: bytes) -> None:
        is_rule = line.strip() == _RULE
        if self._block is None:
            if is_rule:
                self._block = line
            else:
                self._write(line)
            return
        self._block += line
        if is_rule:
            if self._phrase not in self._block:
                self._write(self._block)
            self._block = None
