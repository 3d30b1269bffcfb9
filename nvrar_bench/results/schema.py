"""The schema of the run record under an earlier name, which a test of the rehearsal asks for."""

from __future__ import annotations

from typing import Any

from nvrar_bench.documents.base import schema_of
from nvrar_bench.documents.record import RunRecord


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the run record."""
    return schema_of(RunRecord)
