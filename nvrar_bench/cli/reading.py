"""Stored runs as arguments: a mistake in a file is the user's, and names the file."""

from __future__ import annotations

from pathlib import Path

from nvrar_bench.documents.record import RunRecord
from nvrar_bench.documents.run_file import encode, read_record
from nvrar_bench.errors import NvrarBenchError, UsageError
from nvrar_bench.statistics.figures import replay


def replayed(path: Path, one_state: bool = False) -> RunRecord:
    """Read the record at `path` and compute its figures anew; `one_state` as `figures.replay`.

    Raises:
        UsageError: it is no record, or its samples come to no figures that JSON can hold.
    """
    record = read_record(path)
    try:
        record = replay(record, one_state)
        encode(record)
    except NvrarBenchError as error:
        raise UsageError(f"{path}: {error}") from error
    return record
