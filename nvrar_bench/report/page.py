"""A page for people: HTML with everything in it, that opens offline and prints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.resources import files
from itertools import groupby
from xml.etree.ElementTree import Element

from nvrar_bench import __version__
from nvrar_bench.report import page_facts
from nvrar_bench.report.charts import figures, looks
from nvrar_bench.report.grid import NOTHING, WRONG, Grid
from nvrar_bench.report.markup import document, element
from nvrar_bench.report.remarks import KINDS
from nvrar_bench.report.series import groups
from nvrar_bench.report.summary import checked
from nvrar_bench.report.table import grid, heading
from nvrar_bench.results.record import RunRecord

# Even if a text got into the page as more than text, no browser would run or load anything.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_ALARMING = ("Wrong results", "Errors", "")  # titles of remarks that come before the figures
_POINT = slice(0, 2)  # size and count, before the backend
_TEXTS = ("backend",)  # columns that are no numbers


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
        *_remarks(record, alarming=True),
        *_groups(record),
        *_checks(record),
        *_remarks(record, alarming=False),
        *page_facts.of_run(record),
    )  # fmt: skip


def _groups(record: RunRecord) -> Iterator[Element]:
    look_of = looks(record)
    for title, results in groups(record):
        yield element(
            "section", element("h2", title),
            element("div", *figures(title, results, look_of), class_="charts"),
            element("div", _table(grid(title, results, "µs").stacked()), class_="wide"),
        )  # fmt: skip


def _table(stacked: Grid) -> Element:
    """Make a table in which the rows of one size and count stand together.

    A series that has no result at a size has no row there.
    """
    kept = [row for row in stacked.rows if set(row[_POINT.stop + 1 :]) - {NOTHING, ""}]
    titles = (_cell("th", title, title, scope="col") for title in stacked.titles)
    bodies = (
        element("tbody", *(_row(stacked.titles, row) for row in rows))
        for _, rows in groupby(kept, key=lambda row: row[_POINT])
    )
    return element("table", element("thead", element("tr", *titles)), *bodies, class_="figures")


def _row(titles: Sequence[str], row: Sequence[str]) -> Element:
    return element(
        "tr", *(_cell("td", title, text) for title, text in zip(titles, row, strict=True))
    )


def _cell(tag: str, title: str, text: str, **attributes: str) -> Element:
    alarming = tag == "td" and title == WRONG and text not in ("0", NOTHING)
    style = "alarm" if alarming else "text" if title in _TEXTS else None
    return element(tag, text, class_=style, **attributes)


def _checks(record: RunRecord) -> Iterator[Element]:
    """Say for each backend what was verified, and what came of it."""
    if record.results:
        yield _section("Check", checked(record))


def _remarks(record: RunRecord, alarming: bool) -> Iterator[Element]:
    for kind in KINDS:
        texts = list(kind.of(record))
        if texts and (kind.title in _ALARMING) == alarming:
            yield _section(kind.title, texts, "alarm" if alarming else None)


def _section(title: str, texts: Sequence[str], style: str | None = None) -> Element:
    if not title:
        return element("section", *(element("p", text) for text in texts), class_=style)
    items = element("ul", *(element("li", text) for text in texts))
    return element("section", element("h2", title), items, class_=style)
