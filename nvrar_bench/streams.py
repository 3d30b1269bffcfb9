"""Standard output and standard error: all of it is written, or an error says what was not.

Python's own streams drop what a pipe does not take at once (PYTHONUNBUFFERED, a pipe that another
program made non-blocking), and report a full disk only when the process ends, as exit code 120.

Standard output is for results alone. MPI, UCX and NCCL print there too, in C: descriptor 1 becomes
standard error, and results have a descriptor of their own.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from typing import Any, TextIO

from nvrar_bench.errors import OutputError, ReaderGone

_results: TextIO | None = None  # once `sys.stdout` is for what libraries print
_FIX = "send it to a file or pipe that can take it, or to /dev/null"


def take_over() -> None:
    """Write all that goes to `sys.stdout` and `sys.stderr` by the streams of this module.

    Whatever else writes to descriptor 1 reaches standard error, also what this process starts.
    Streams that a caller has put in their place stay. A closed descriptor is taken by /dev/null,
    else the next file to be opened would be standard output; writing to standard output still
    fails, while messages that nobody can read are dropped.
    """
    for number, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        _occupy(number, flags)
    if sys.stdout is sys.__stdout__:
        sys.stdout = stream(set_apart(), sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = stream(2, sys.stderr, is_vital=False)


def set_apart() -> int:
    """Make descriptor 1 standard error; return one, not inherited, of what it was."""
    kept = os.dup(1)
    os.dup2(2, 1)
    return kept


def expect_prints() -> None:
    """Send to standard error what Python libraries print from here on; `results` stay."""
    global _results
    _results = results()
    sys.stdout = sys.stderr


def results() -> TextIO:
    """Standard output, as the user has it."""
    return _results or sys.stdout


def stream(descriptor: int, like: TextIO | None, is_vital: bool = True) -> TextIO:
    """A text stream on `descriptor`, which encodes as `like` does.

    Writing to it raises OutputError where not all was written; unless it `is_vital`, what cannot
    be written is dropped.
    """
    raw = _Whole(descriptor, is_vital)
    encoding = like.encoding if like is not None else "utf-8"
    errors = like.errors if like is not None else "backslashreplace"
    return io.TextIOWrapper(raw, encoding=encoding, errors=errors, write_through=True)  # type: ignore[type-var]


def _occupy(number: int, flags: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        opened = os.open(os.devnull, flags)
        if opened != number:  # a lower one is closed too
            os.dup2(opened, number)
            os.close(opened)
        os.set_inheritable(number, True)


class _Whole(io.RawIOBase):
    """A descriptor to which all is written, however little of it one call of the kernel takes."""

    def __init__(self, descriptor: int, is_vital: bool) -> None:
        self._descriptor, self._is_vital = descriptor, is_vital

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            while left:
                left = left[self._write_some(left) :]
        except OSError as error:
            if self._is_vital:
                if error.errno == errno.EPIPE:
                    raise ReaderGone("the reader of standard output has gone") from error
                reason = "it is closed" if error.errno == errno.EBADF else error.strerror
                what = f"standard output cannot be written: {reason}"
                raise OutputError(f"{what}; {_FIX}") from error
        return size

    def _write_some(self, data: memoryview) -> int:
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:
            # Somebody made the pipe non-blocking, and it is full: wait until its reader has read.
            room = select.poll()
            room.register(self._descriptor, select.POLLOUT)
            room.poll()
            return 0
