"""Tables that ship with the package, by architecture: `auto` follows one where it was measured.

ci/gpu_table.py makes `ARCH.table` beside this file from the records of a GPU run. It holds a table
of `nvrar-bench tune` for each fabric and number of ranks that was raced there.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nvrar_bench.backends.nvrar.chooser import require_row_within
from nvrar_bench.backends.nvrar.limits import Limits
from nvrar_bench.backends.nvrar.tuning import TunedLaunch, TuningTable, table_of
from nvrar_bench.documents.files import parse_json
from nvrar_bench.documents.tuning import MadeFor, TuningDocument
from nvrar_bench.errors import UsageError

FOLDER = Path(__file__).parent


def shipped_table(here: MadeFor, limits: Limits) -> TuningTable | None:
    """Return the table that was made for just this, of rows that can be launched here.

    None where nothing ships for the architecture, these ranks and this fabric, or no row is left:
    another model may have fewer multiprocessors.
    """
    path = FOLDER / f"{here.arch}.table"
    if not path.is_file():
        return None
    content = path.read_bytes()
    for one in parse_json(content)["tables"]:
        document = TuningDocument.from_json(one, str(path))
        if document.made_for == here:
            table = table_of(document, path.name, path.name, content)
            rows = tuple(row for row in table.rows if _fits(table, row, limits))
            return replace(table, rows=rows) if rows else None
    return None


def _fits(table: TuningTable, row: TunedLaunch, limits: Limits) -> bool:
    try:
        require_row_within(table, row, limits)
    except UsageError:
        return False
    return True
