"""Reads a run record from a file."""

from __future__ import annotations

from pathlib import Path

from nvrar_bench.errors import UsageError
from nvrar_bench.results.record import RunRecord


def read(path: Path) -> RunRecord:
    """Return the record at `path`.

    Raises:
        UsageError: names the path, and why it holds no record.
    """
    try:
        return RunRecord.from_json(path.read_bytes())
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        reason = (isinstance(error, OSError) and error.strerror) or error
        raise UsageError(f"{path} cannot be read: {reason}") from error
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
