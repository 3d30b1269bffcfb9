"""The file of a run record: written so that a run that dies leaves a valid file, and read.

Every write goes to a new file in the same folder, which then takes the destination's name in one
step: a reader sees the old record or the new one, never half of one.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from threading import RLock
from typing import Any, TypeVar

from nvrar_bench.documents.decode import DecodeRecord, TimedStep
from nvrar_bench.documents.files import STDOUT, encode_lines, parsed, reason_of, replace, target_of
from nvrar_bench.documents.record import NO_JSON, Record, RunRecord, Status
from nvrar_bench.documents.result import Result
from nvrar_bench.errors import Interrupted, NvrarBenchError, UsageError
from nvrar_bench.streams import results

STDIN = STDOUT  # both are `-`
_Kind = TypeVar("_Kind", bound=RunRecord | DecodeRecord)
LONGEST_US = 1e12  # eleven days: more is no sample, and squares of it are still numbers


def encode(record: Record) -> str:
    """Write a record as JSON text, one line per key and one per result; as `encode_lines`."""
    try:
        plain = record.to_json()
    except RecursionError as error:  # facts of somebody else's record may be anything
        raise NvrarBenchError(f"the run record cannot be written as JSON: {error}") from error
    return encode_lines(plain, "the run record")


class Writer:
    """Writes to a file after every case, or to standard output once, at the end.

    The destination None writes nothing; `-` is standard output. Several threads may write; once
    a finished record is out, a record that is not finished comes too late and is dropped.
    """

    def __init__(self, destination: Path | None) -> None:
        self.destination = destination
        self._lock = RLock()  # a signal may interrupt a write by the same thread
        self._finished = False

    def write(self, record: Record) -> None:
        """Replace the file by `record`; to standard output goes a finished record, once.

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
                self._put(self.destination, text, finished)
            except (OSError, RuntimeError) as error:
                reason = reason_of(error)
                raise NvrarBenchError(f"--json {self.destination}: {reason}") from error

    def _put(self, destination: Path, text: str, finished: bool) -> None:
        if destination != STDOUT:
            # A signal handler may have written the final record while this one was on its way.
            replace(target_of(destination), text, lambda: finished or not self._finished)
            self._finished = self._finished or finished
        elif finished:
            self._finished = True
            results().write(text)


def read_record(path: Path) -> RunRecord:
    """Read the record of a sweep at `path`; `-` is standard input.

    UsageError: it cannot be read, is no record, or contradicts itself; names the file.
    """
    return _read(path, RunRecord.of)


def read_any_record(path: Path) -> RunRecord | DecodeRecord:
    """Read a record of whichever kind the file says; as `read_record`."""

    def of(value: Any) -> RunRecord | DecodeRecord:
        is_decode = isinstance(value, dict) and value.get("format") == DecodeRecord.FORMAT
        return DecodeRecord.of(value) if is_decode else RunRecord.of(value)

    return _read(path, of)


def _read(path: Path, record_of: Callable[[Any], _Kind]) -> _Kind:
    name = "standard input" if path == STDIN else str(path)
    try:
        content = _stdin() if path == STDIN else path.read_bytes()
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{name!r} cannot be read: {reason_of(error)}; allowed: a run record, as written by "
            f"sweep --json, or - for standard input"
        ) from error
    try:
        record = record_of(parsed(content, NO_JSON))
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from error
    for problem in _contradictions(record):
        raise UsageError(f"{name}: {problem}")
    return record


def _stdin() -> bytes:
    if sys.stdin is None:
        raise ValueError("it is closed")
    return sys.stdin.buffer.read()


def _contradictions(record: RunRecord | DecodeRecord) -> Iterator[str]:
    if isinstance(record, DecodeRecord):
        for i, batch in enumerate(record.results):
            timed = [("work", batch.work)] if batch.work else []
            timed += [(f"steps[{j}].step", one.step) for j, one in enumerate(batch.steps)]
            for name, step in timed:
                yield from (f"results[{i}].{name}.{problem}" for problem in _of_samples(step))
        return
    for i, result in enumerate(record.results):
        problems = (*_of_samples(result), *_of_launches(result))
        yield from (f"results[{i}].{problem}" for problem in problems)


def _of_samples(result: Result | TimedStep) -> Iterator[str]:
    count = len(result.samples_us)
    if result.samples != count:
        yield f"samples is {result.samples}; there are {count} in samples_us"
    if max(result.late, default=-1) >= count:
        yield f"late holds {max(result.late)}; allowed: 0 to {count - 1}"
    if max(result.samples_us, default=0.0) > LONGEST_US:
        yield f"samples_us holds {max(result.samples_us):g}; allowed: at most {LONGEST_US:g}"


def _of_launches(result: Result) -> Iterator[str]:
    count = len(result.samples_us)
    if sum(result.launch_samples) != count:
        yield f"launch_samples add up to {sum(result.launch_samples)}; there are {count} samples"
    last = max((arrival.launch for arrival in result.arrivals), default=-1)
    if last >= len(result.launch_samples) > 0:
        yield f"arrivals name launch {last}; allowed: 0 to {len(result.launch_samples) - 1}"
    stretches = [stretch.samples for stretch in result.stretches]
    ends, wanted = list(accumulate(stretches)), set(accumulate(result.launch_samples))
    if stretches and (ends[-1] != count or not wanted <= {0, *ends}):
        yield f"stretches end at samples {ends}; launches at {sorted(wanted)}"


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
