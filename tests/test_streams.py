"""Everything is written, or the error says what was not."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from threading import Thread

import pytest

from nvrar_bench.errors import OutputError, ReaderGone
from nvrar_bench.streams import stream

MUCH = "0123456789" * 100_000  # more than a pipe takes at once


def _drain(descriptor: int, into: list[bytes], after: float) -> None:
    time.sleep(after)
    while data := os.read(descriptor, 1 << 16):
        into.append(data)


@pytest.mark.parametrize("blocking", [True, False])
def test_a_slow_pipe_gets_all(blocking: bool):
    reading, writing = os.pipe()
    os.set_blocking(writing, blocking)
    found: list[bytes] = []
    reader = Thread(target=_drain, args=(reading, found, 0.2))
    reader.start()
    stream(writing, sys.__stdout__).write(MUCH)
    os.close(writing)
    reader.join()
    os.close(reading)
    assert b"".join(found) == MUCH.encode()


def test_a_full_disk():
    with Path("/dev/full").open("wb") as full:
        text = stream(full.fileno(), sys.__stdout__)
        with pytest.raises(OutputError, match="No space left on device; send it to a file"):
            text.write("a")
        text.flush()  # nothing is left to be written when the process ends


def test_a_closed_descriptor():
    descriptor = os.open(os.devnull, os.O_RDONLY)
    with pytest.raises(OutputError, match="it is closed"):
        stream(descriptor, None).write("a")
    os.close(descriptor)


def test_a_reader_that_has_gone():
    reading, writing = os.pipe()
    os.close(reading)
    with pytest.raises(ReaderGone):
        stream(writing, None).write("a")
    os.close(writing)


def test_what_is_not_vital_is_dropped():
    with Path("/dev/full").open("wb") as full:
        assert stream(full.fileno(), None, is_vital=False).write("a") == 1
