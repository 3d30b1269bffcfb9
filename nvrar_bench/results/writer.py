"""Writes the run record so that a run that dies leaves a valid file.

Every write goes to a new file in the same folder, which then takes the destination's name in one
step: whoever reads sees the old record or the new one, never half of one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from threading import RLock
from typing import Any

from nvrar_bench.errors import NvrarBenchError
from nvrar_bench.results.files import STDOUT, reason_of, replace, target_of
from nvrar_bench.results.record import RunRecord
from nvrar_bench.results.shapes import to_text
from nvrar_bench.streams import results

__all__ = ["STDOUT", "Writer", "encode"]


def encode(record: RunRecord) -> str:
    """Write a record as JSON text, one line per key and one per result, to be read and diffed.

    Raises:
        NvrarBenchError: the record holds what JSON has no word for, such as NaN.

    """
    return encode_lines(record.to_json(), "the run record")


def encode_lines(plain: Mapping[str, Any], what: str) -> str:
    """Write `plain` as JSON text, one line per key and one per item of its lists.

    Raises:
        NvrarBenchError: as `encode`, naming `what` it is.

    """
    try:
        parts = [f" {to_text(k)}: {_encode_value(v)}" for k, v in plain.items()]
    except (TypeError, ValueError, RecursionError) as error:
        raise NvrarBenchError(f"{what} cannot be written as JSON: {error}") from error
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _encode_value(value: object) -> str:
    if not isinstance(value, list) or not value:
        return to_text(value)
    items = ",\n  ".join(map(to_text, value))
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
                reason = reason_of(error)
                raise NvrarBenchError(f"--json {self.destination}: {reason}") from error

    def _put(self, text: str, finished: bool) -> None:
        if self.destination != STDOUT:
            self._replace(target_of(self.destination or STDOUT), text, finished)
        elif finished:
            self._finished = True
            results().write(text)

    def _replace(self, target: Path, text: str, finished: bool) -> None:
        def wanted() -> bool:
            # A signal handler may have written the final record while this one was on its way.
            return finished or not self._finished

        replace(target, text, wanted)
        self._finished = self._finished or finished
