"""Reads a run record from a file or standard input; refuses what its own samples contradict."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

from nvrar_bench.errors import UsageError
from nvrar_bench.results.files import STDOUT, reason_of
from nvrar_bench.results.record import Result, RunRecord

STDIN = STDOUT  # both are `-`
LONGEST_US = 1e12  # eleven days: more is no sample, and squares of it are still numbers


def read_record(path: Path) -> RunRecord:
    """Read the record at `path`; `-` is standard input.

    Raises:
        UsageError: it cannot be read, is no record, or contradicts itself; names the file.

    """
    name = "standard input" if path == STDIN else str(path)
    try:
        content = _stdin() if path == STDIN else path.read_bytes()
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{name!r} cannot be read: {reason_of(error)}; allowed: a run record, as written by "
            f"sweep --json, or - for standard input"
        ) from error
    try:
        record = RunRecord.from_json(content)
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from error
    for i, result in enumerate(record.results):
        for problem in _contradictions(result):
            raise UsageError(f"{name}: results[{i}].{problem}")
    return record


def _stdin() -> bytes:
    if sys.stdin is None:
        raise ValueError("it is closed")
    return sys.stdin.buffer.read()


def _contradictions(result: Result) -> Iterator[str]:
    count = len(result.samples_us)
    if result.samples != count:
        yield f"samples is {result.samples}; there are {count} in samples_us"
    if sum(result.launch_samples) != count:
        yield f"launch_samples add up to {sum(result.launch_samples)}; there are {count} samples"
    if max(result.late, default=-1) >= count:
        yield f"late holds {max(result.late)}; allowed: 0 to {count - 1}"
    stretches = [stretch.samples for stretch in result.stretches]
    ends, wanted = list(accumulate(stretches)), set(accumulate(result.launch_samples))
    if stretches and (ends[-1] != count or not wanted <= {0, *ends}):
        yield f"stretches end at samples {ends}; launches at {sorted(wanted)}"
    if max(result.samples_us, default=0.0) > LONGEST_US:
        yield f"samples_us holds {max(result.samples_us):g}; allowed: at most {LONGEST_US:g}"
