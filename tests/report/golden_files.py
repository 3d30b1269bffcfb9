"""Outputs against files that were read once.

After a wanted change, `UPDATE_GOLDEN=1 pytest tests/report` writes the files anew; read the diff.
"""

from __future__ import annotations

import os
from pathlib import Path

from nvrar_bench.results.record import RunRecord

GOLDEN = Path(__file__).parent / "golden"


def full() -> RunRecord:
    """Return a record with several groups, a wrong result, skipped backends and an error."""
    return RunRecord.from_json((GOLDEN / "run.json").read_bytes())


def matches(name: str, text: str) -> bool:
    """Say whether `text` is the golden file `name`, to the byte."""
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_bytes(text.encode())
    return text.encode() == path.read_bytes()
