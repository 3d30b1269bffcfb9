"""Writes the run record so that a run that dies leaves a valid file.

Every write goes to a new file in the same folder, which then takes the destination's name in one
step: whoever reads sees the old record or the new one, never half of one.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path
from threading import RLock
from uuid import uuid4

from nvrar_bench.errors import NvrarBenchError, UsageError
from nvrar_bench.results.record import RunRecord

STDOUT = Path("-")


def encode(record: RunRecord) -> str:
    """Write a record as JSON text, one line per key and one per result, to be read and diffed.

    Raises:
        NvrarBenchError: the record holds what JSON has no word for, such as NaN.

    """
    try:
        parts = [f" {json.dumps(k)}: {_encode_value(v)}" for k, v in record.to_json().items()]
    except (TypeError, ValueError, RecursionError) as error:
        raise NvrarBenchError(f"the run record cannot be written as JSON: {error}") from error
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _encode_value(value: object) -> str:
    if not isinstance(value, list) or not value:
        return json.dumps(value, allow_nan=False)
    items = ",\n  ".join(json.dumps(item, allow_nan=False) for item in value)
    return f"[\n  {items}\n ]"


class Writer:
    """Writes to a file after every case, or to standard output once, at the end.

    The destination None writes nothing; `-` is standard output. Several threads may write; once
    a finished record is out, a record that is not finished comes too late and is dropped.
    """

    def __init__(self, destination: Path | None) -> None:
        self.destination = destination
        self._lock = RLock()  # a signal may interrupt a write by the same thread
        self._finished = False

    def check_writable(self) -> None:
        """Find out before the first measurement whether the record can be written.

        A file is created and removed beside the destination, because permission bits alone tell
        nothing to root, or about a full or read-only file system.

        Raises:
            UsageError: names `--json`, the path, and why it cannot be written.

        """
        if self.destination is None or self.destination == STDOUT:
            return
        try:
            target = _target(self.destination)
            _refuse_special(target)
            temporary = _temporary(target)
            temporary.touch(exist_ok=False)
            temporary.unlink()
        except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: links in a circle
            reason = _reason(error)
            raise UsageError(
                f"--json {str(self.destination)!r} cannot be written: {reason}; "
                f"allowed: a file in an existing folder that you may write to, or -"
            ) from error

    def write(self, record: RunRecord) -> None:
        """Replace the file by `record`; to standard output goes a finished record, once.

        Raises:
            NvrarBenchError: the record is no JSON, or the write failed; the old file stays.

        """
        if self.destination is None:
            return
        text = encode(record)
        finished = record.run.finished_at is not None
        with self._lock:
            if self._finished and (self.destination == STDOUT or not finished):
                return
            try:
                self._put(text, finished)
            except (OSError, RuntimeError) as error:
                reason = _reason(error)
                raise NvrarBenchError(f"--json {self.destination}: {reason}") from error

    def _put(self, text: str, finished: bool) -> None:
        if self.destination != STDOUT:
            self._replace(_target(self.destination or STDOUT), text, finished)
        elif finished:
            self._finished = True
            sys.stdout.write(text)
            sys.stdout.flush()

    def _replace(self, target: Path, text: str, finished: bool) -> None:
        temporary = _temporary(target)
        try:
            with temporary.open("x", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            # A signal handler may have written the final record while this one was on its way.
            if finished or not self._finished:
                temporary.replace(target)
                self._finished = finished
        finally:
            temporary.unlink(missing_ok=True)


def _target(destination: Path) -> Path:
    """Follow symbolic links: what they point at is written, and the link stays a link."""
    return destination.resolve()


def _temporary(target: Path) -> Path:
    """Name a file beside `target`; its own name may already be as long as a name can be."""
    return target.parent / f".nvrar-bench-{uuid4().hex}.tmp"


def _refuse_special(target: Path) -> None:
    """Refuse what is no plain file: a rename would put one where /dev/null was."""
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        raise ValueError("it is a folder")
    if not stat.S_ISREG(mode):
        raise ValueError("it is not a regular file")
    if not os.access(target, os.W_OK):
        raise ValueError("it is read-only")


def _reason(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)
