"""The forms in which `report` writes stored runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from io import StringIO

from rich.console import Console

from nvrar_bench.report import csv_rows, openmetrics, page, summary, table
from nvrar_bench.report.show import WIDE
from nvrar_bench.results.record import RunRecord

Encode = Callable[[Sequence[RunRecord]], str]


@dataclass(frozen=True)
class Format:
    """One form.

    Attributes:
        encode: returns the text of all runs.
        tells_all: whether that says what no result knows: skipped backends, errors, how it ended.
        takes_several: whether it has room for several runs.
        variants: what an option makes of it.

    """

    encode: Encode
    tells_all: bool
    takes_several: bool = True
    variants: dict[str, Encode] = field(default_factory=dict)


def as_text(
    write: Callable[[RunRecord, Console], None],
) -> Callable[[Sequence[RunRecord]], str]:
    """Make of what writes one record to a console what returns the plain text of several."""

    def encode(records: Sequence[RunRecord]) -> str:
        file = StringIO()
        for record in records:
            write(record, Console(file=file, force_terminal=False, width=WIDE))
        return file.getvalue()

    return encode


TABLE = "table"
FORMATS = {
    TABLE: Format(
        as_text(table.write), tells_all=True, variants={"--summary": as_text(summary.write)}
    ),
    "csv": Format(
        csv_rows.encode, tells_all=False, variants={"--samples": csv_rows.encode_samples}
    ),
    # No series is labelled with its run: each run would begin new ones.
    "openmetrics": Format(openmetrics.encode, tells_all=False, takes_several=False),
    "html": Format(page.encode, tells_all=True),
}
