"""A page for people: HTML with everything in it, that opens offline and prints."""

from __future__ import annotations

from collections.abc import Sequence

from nvrar_bench.documents.decode import DecodeRecord
from nvrar_bench.documents.record import RunRecord
from nvrar_bench.report.page import decode, run
from nvrar_bench.report.page.frame import html


def encode(records: Sequence[RunRecord] | Sequence[DecodeRecord]) -> str:
    """Return the page on `records`, all of one kind, one below the other."""
    return html(
        [decode.article(r) if isinstance(r, DecodeRecord) else run.article(r) for r in records]
    )
