"""A page for people: HTML with everything in it, that opens offline and prints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.resources import files
from itertools import groupby
from xml.etree.ElementTree import Element

from nvrar_bench import __version__
from nvrar_bench.documents.record import RunRecord
from nvrar_bench.report import columns, page_facts
from nvrar_bench.report.charts import figures, looks
from nvrar_bench.report.grid import NOTHING, WRONG, Column, Grid
from nvrar_bench.report.markup import document, element
from nvrar_bench.report.notes import NOTE, notes
from nvrar_bench.report.remarks import KINDS
from nvrar_bench.report.series import all_series, groups
from nvrar_bench.report.summary import checked
from nvrar_bench.report.table import Table, heading

# Even if a text got into the page as more than text, no browser would run or load anything.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_NOTES = (NOTE, "skipped")  # the other notes are alarms
_ALARMING = ("Wrong results", "Errors", "")  # titles of remarks that come before the figures
_POINT = slice(0, 2)  # size and count, before the backend
_FIELDS = (columns.TIME, columns.INTERVAL, columns.ALGBW, columns.BUSBW)


def encode(records: Sequence[RunRecord]) -> str:
    """Return the page on `records`, one below the other."""
    head = element(
        "head", element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", "; ".join(map(_title, records))),
    )  # fmt: skip
    made = f"Made by nvrar-bench {__version__}; all figures computed anew from the samples."
    body = element("body", *map(_article, records), element("footer", made))
    style = files("nvrar_bench.report").joinpath("page.css").read_text(encoding="utf-8")
    return document(element("html", head, body, lang="en"), style)


def _title(record: RunRecord) -> str:
    backends = dict.fromkeys(result.backend for result in record.results)
    return f"All-reduce on {record.topology.ranks} ranks: {', '.join(backends) or 'no results'}"


def _article(record: RunRecord) -> Element:
    return element(
        "article",
        element("header", element("h1", _title(record)),
                element("p", " · ".join((*heading(record), record.run.started_at)))),
        *_alarms(record),
        *_groups(record),
        *_notes(record),
        *_checks(record),
        *page_facts.of_run(record),
    )  # fmt: skip


def _groups(record: RunRecord) -> Iterator[Element]:
    look_of, among = looks(record), all_series(record.results)
    for title, results in groups(record):
        table = Table(title, results, among).stacked(_FIELDS, wide=True)
        yield element(
            "section", element("h2", title),
            element("div", *figures(title, results, look_of), class_="charts"),
            element("div", _table(table), class_="wide"),
        )  # fmt: skip


def _table(stacked: Grid) -> Element:
    """Make a table in which the rows of one size and count stand together."""
    heads = [
        (" ".join(filter(None, (block.label, column.title, column.unit))), column)
        for block in stacked.blocks
        for column in block.columns
    ]
    titles = (_cell("th", column, head, scope="col") for head, column in heads)
    bodies = (
        element("tbody", *(_row(stacked.columns, row) for row in rows))
        for _, rows in groupby(stacked.rows, key=lambda row: row[_POINT])
    )
    return element("table", element("thead", element("tr", *titles)), *bodies, class_="figures")


def _row(titles: Sequence[Column], row: Sequence[str]) -> Element:
    return element(
        "tr", *(_cell("td", column, text) for column, text in zip(titles, row, strict=True))
    )


def _cell(tag: str, column: Column, text: str, **attributes: str) -> Element:
    alarming = tag == "td" and column.title == WRONG and text not in ("0", NOTHING)
    style = "alarm" if alarming else "text" if column.is_left else None
    return element(tag, text, class_=style, **attributes)


def _checks(record: RunRecord) -> Iterator[Element]:
    """Say for each backend what was verified, and what came of it."""
    if record.results:
        yield _section("Check", checked(record))


def _alarms(record: RunRecord) -> Iterator[Element]:
    for kind in KINDS:
        texts = list(kind.of(record))
        if texts and kind.title in _ALARMING:
            yield _section(kind.title, texts, "alarm")


def _notes(record: RunRecord) -> Iterator[Element]:
    """Show what matters most, and fold away the rest."""
    most = [text.removeprefix(NOTE) for text in notes(record) if text.startswith(_NOTES)]
    if most:
        yield _section("Notes", most)
    folded = [(kind.title, list(kind.of(record))) for kind in KINDS if kind.title not in _ALARMING]
    parts = [_section(title, texts) for title, texts in folded if texts]
    if parts:
        yield element("details", element("summary", "All remarks"), *parts)


def _section(title: str, texts: Sequence[str], style: str | None = None) -> Element:
    if not title:
        return element("section", *(element("p", text) for text in texts), class_=style)
    items = element("ul", *(element("li", text) for text in texts))
    return element("section", element("h2", title), items, class_=style)
