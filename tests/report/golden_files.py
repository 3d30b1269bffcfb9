"""Outputs against files that were read once.

After a wanted change, `UPDATE_GOLDEN=1 pytest tests/report` writes the files anew; read the diff.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from nvrar_bench.documents.record import RunRecord

GOLDEN = Path(__file__).parent / "golden"
_PAGE = Path(__file__).parents[2] / "docs" / "dashboards.md"


def full() -> RunRecord:
    """Return a record with several groups, a wrong result, skipped backends and an error."""
    return RunRecord.from_json((GOLDEN / "run.json").read_bytes())


def matches(name: str, text: str) -> bool:
    """Say whether `text` is the golden file `name`, to the byte."""
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_bytes(text.encode())
    return text.encode() == path.read_bytes()


def is_documented(name: str) -> bool:
    """Say whether the tables of docs/dashboards.md have `name`, or its end as `_end` does."""
    rows = [line for line in _PAGE.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    said = set(re.findall(r"`(\w+)`", "\n".join(rows)))
    return name in said or any(name.endswith(end) for end in said if end.startswith("_"))
