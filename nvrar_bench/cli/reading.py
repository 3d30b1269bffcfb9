"""Stored runs as arguments: a mistake in a file is the user's, and names the file."""

from __future__ import annotations

from pathlib import Path

from nvrar_bench.errors import NvrarBenchError, UsageError
from nvrar_bench.results.figures import replay
from nvrar_bench.results.reader import read_record
from nvrar_bench.results.record import RunRecord
from nvrar_bench.results.writer import encode


def replayed(path: Path) -> RunRecord:
    """Read the record at `path` and compute its figures anew.

    Raises:
        UsageError: it is no record, or its samples come to no figures that JSON can hold.
    """
    record = read_record(path)
    try:
        record = replay(record)
        encode(record)
    except NvrarBenchError as error:
        raise UsageError(f"{path}: {error}") from error
    return record


def part(option: str, text: str) -> float:
    """Read the value of `option`: `5%` and `0.05` are the same part.

    Raises:
        UsageError: it is neither, or not from 0 to 100 %.
    """
    digits = text.strip()
    percent = digits.endswith("%")
    try:
        value = float(digits.removesuffix("%")) / (100 if percent else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise UsageError(f"{option} {text!r}: allowed: 0 to 100 %, such as 5% or 0.05")
    return value
