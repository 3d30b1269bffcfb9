"""Reading what the command line wrote."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema

from nvrar_bench.documents import schema_of
from nvrar_bench.documents.record import RunRecord

ERROR = "nvrar-bench: error: "
_OPEN_MPI_BANNER = re.compile(r"^-{74}\n.*?^-{74}\n", re.MULTILINE | re.DOTALL)
_HYDRA_BANNER = re.compile(r"^=+\n= {3}BAD TERMINATION.*?^=+\n", re.MULTILINE | re.DOTALL)
_HYDRA_LINE = re.compile(
    r"^(\[(mpiexec|proxy)|YOUR APPLICATION TERMINATED|This typically).*\n", re.M
)
_OPEN_MPI_STACK = re.compile(r"^\[[^\]\s]+:\d+\] .*\n", re.M)  # of a rank that crashed
_PROGRESS = re.compile(r"^\[\d+/\d+\] .*\n", re.MULTILINE)

_FOREIGN = (_OPEN_MPI_BANNER, _HYDRA_BANNER, _HYDRA_LINE, _OPEN_MPI_STACK, _PROGRESS)


def messages(stderr: str) -> list[str]:
    """The lines of stderr that are ours, less progress: what the launcher adds is allowed."""
    for foreign in _FOREIGN:
        stderr = foreign.sub("", stderr)
    return [line for line in stderr.splitlines() if line.strip()]


def one_message(stderr: str) -> str:
    """The one message of ours on stderr."""
    assert "Traceback" not in stderr, stderr
    found = messages(stderr)
    assert len(found) == 1, stderr
    return found[0]


def one_error(stderr: str) -> str:
    """The one message of ours on stderr, which the command line printed."""
    message = one_message(stderr)
    assert message.startswith(ERROR), message
    return message.removeprefix(ERROR)


def read(path: Path) -> dict[str, Any]:
    """The record at `path`, checked against the schema."""
    return valid(json.loads(path.read_text()))


def valid(record: dict[str, Any]) -> dict[str, Any]:
    """The record, checked against the schema."""
    jsonschema.validate(record, schema_of(RunRecord), cls=jsonschema.Draft202012Validator)
    return record


def wait_until(true: Callable[[], bool], seconds: float) -> bool:
    """Whether `true()` became so in time."""
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    return true()


GOLDEN = Path(__file__).parent / "golden"
# The session's own variables (NVRAR_BENCH_*) are put aside before a test runs.
_WRITE = os.environ.get("NVRAR_BENCH_GOLDEN") == "write"


def require_golden(name: str, text: str) -> None:
    """Compare `text` with the file, or write it where that was asked for."""
    path = GOLDEN / name
    if _WRITE:
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
