"""Records in which every text is what somebody else wrote."""

from __future__ import annotations

from hypothesis import strategies as st
from msgspec.structs import replace

from nvrar_bench.documents.record import ErrorEntry, RunRecord, Skipped

from .golden_files import full

SCRIPT = "<script>alert(1)</script>\"'&--></style>]]>\\"
TEXTS = st.text(max_size=40) | st.sampled_from(
    [SCRIPT, "=1+1", "@SUM(A1)", "a\nb\r\nc", "x\ud800y", "\x1b[2J\x00", '"', "\\n", "-inf", "é,;|"]
)


def with_text(text: str) -> RunRecord:
    """Return the full record with `text` wherever a record has a text of its own."""
    record = full()
    places = tuple(replace(place, host=text, device=text) for place in record.topology.placement)
    results = tuple(
        replace(result, backend=text, variant=text, device=text, stop_reason=text, warnings=(text,))
        for result in record.results
    )
    return replace(
        record,
        run=replace(record.run, id=text, started_at=text, command=(text, text), version=text),
        topology=replace(record.topology, placement=places),
        settings={text: text, "case": {text: [text, {text: None}]}},
        environment={"host": text, "mpi_library": {text: text}, "cpu": [text], text: text},
        results=results,
        skipped=(Skipped(text, text), Skipped(text, text)),
        errors=(ErrorEntry(text, text),),
    )
