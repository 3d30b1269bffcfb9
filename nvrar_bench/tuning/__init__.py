"""The tuning table that `tune` writes and `auto` reads: see docs/method.md."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "NVRAR_BENCH_TUNING"


def named_table(path: str | Path | None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return `path`, or else what $NVRAR_BENCH_TUNING names; None where nobody names a table."""
    named = environ.get(VARIABLE) if path is None else path
    return Path(named) if named else None
