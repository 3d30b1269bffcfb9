"""The record in the making: written after every case, closed once, however the run ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nvrar_bench.documents.record import Record, Status
from nvrar_bench.documents.run_file import Writer
from nvrar_bench.errors import Interrupted, NvrarBenchError

# A correctness run has thousands of short cases; writing them all out after each one would cost
# more than running them.
_FEW_RESULTS = 100
_PAUSE_S = 1.0
_PAUSE_PER_COST = 20  # a record of very many samples takes long to write


class Journal:
    """Rank 0 keeps it; on the other ranks `record` stays None and nothing is written."""

    def __init__(self, writer: Writer) -> None:
        self.record: Record | None = None
        self._writer = writer
        self._unfinished: Callable[[], Sequence[Any]] = tuple
        self._written_at = 0.0
        self._pause_s = _PAUSE_S
        self._lock = threading.RLock()

    def begin(self, record: Record) -> None:
        """Start with an empty record, and write it."""
        with self._lock:
            self.record = record
            self._write()

    def expect(self, unfinished: Callable[[], Sequence[Any]] = tuple) -> None:
        """Say who knows the results in the making: they are written too, as far as they are."""
        with self._lock:
            self._unfinished = unfinished

    def progressed(self) -> None:
        """There is more of the results in the making; write it now and then."""
        with self._lock:
            if self.record is not None and self._is_time():
                self._write()

    def add(self, result: Any) -> None:
        """Add a finished case of one backend."""
        self._change(lambda record: record.with_result(result))

    def learn(self, facts: Mapping[str, Any]) -> None:
        """Add facts to the environment."""
        self._change(lambda record: record.with_environment(facts))

    def skip(self, backend: str, reason: str) -> None:
        """Add what did not run."""
        self._change(lambda record: record.with_skipped(backend, reason))

    def close(self, error: NvrarBenchError | None = None) -> None:
        """Close the record, unless it is closed: complete, or failed or interrupted by `error`."""
        with self._lock:
            if self.record is None or self.record.run.finished_at is not None:
                return
            closing = self._with_unfinished(self.record)
            self._unfinished = tuple
            status: Status = "interrupted" if isinstance(error, Interrupted) else "failed"
            closing = closing.with_error(error) if error else closing
            self.record = closing.finished(status if error else "complete")
            self._write()

    def _change(self, change: Callable[[Record], Record]) -> None:
        with self._lock:
            if self.record is None:
                return
            self.record = change(self.record)
            if len(self.record.results) <= _FEW_RESULTS or self._is_time():
                self._write()

    def _is_time(self) -> bool:
        return time.monotonic() - self._written_at > self._pause_s

    def _write(self) -> None:
        if self.record is not None:
            begun = time.monotonic()
            self._writer.write(self._with_unfinished(self.record))
            self._written_at = time.monotonic()
            self._pause_s = max(_PAUSE_S, _PAUSE_PER_COST * (self._written_at - begun))

    def _with_unfinished(self, record: Record) -> Record:
        for result in self._unfinished():
            record = record.with_result(result)
        return record
