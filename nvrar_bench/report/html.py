"""What all pages are made of: elements, sections, tables, and what was run.

HTML and SVG are trees: what is text stays text, because the serialiser escapes all of it.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib.resources import files
from itertools import groupby
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

from nvrar_bench import __version__
from nvrar_bench.documents.record import RankPlace, Record
from nvrar_bench.report.grid import NOTHING, WRONG, Column, Grid, printable

# Even if a text got into the page as more than text, no browser would run or load anything.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_POINT = slice(0, 2)  # size and count, before the backend
_LONGEST = 400  # letters of a fact: facts of each rank are lists as long as the run is wide
_MOST_HOSTS = 64

Article = tuple[str, Element]  # with its title


def element(tag: str, *content: Element | str, **attributes: object) -> Element:
    """Make an element of texts and elements, in order.

    An attribute is called as in Python: `class_`, and `stroke_width` for `stroke-width`. One
    that is None is left out.
    """
    made = Element(tag)
    for name, value in attributes.items():
        if value is not None:
            made.set(name.rstrip("_").replace("_", "-"), _clean(value))
    last = None
    for item in content:
        if isinstance(item, Element):
            made.append(item)
            last = item
        elif last is None:
            made.text = (made.text or "") + _clean(item)
        else:
            last.tail = (last.tail or "") + _clean(item)
    return made


def _clean(text: object) -> str:
    return printable(str(text), "utf-8")


def html(articles: Sequence[Article]) -> str:
    """Return a page of articles."""
    metas = (
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
    )
    head = element("head", *metas, element("title", "; ".join(title for title, _ in articles)))
    made = f"Made by nvrar-bench {__version__}; all figures computed anew from the samples."
    body = element("body", *(article for _, article in articles), element("footer", made))
    style = files("nvrar_bench.report").joinpath("page.css").read_text(encoding="utf-8")
    return document(element("html", head, body, lang="en"), style)


def document(html: Element, style: str) -> str:
    """Write a page; `style` is our own CSS, which HTML does not escape."""
    SubElement(html[0], "style").text = style
    # Not as XML: to a browser `<ul/>` is a tag that is never closed.
    return "<!DOCTYPE html>\n" + tostring(html, encoding="unicode", method="html") + "\n"


def article_of(
    record: Record, title: str, heading: Iterable[str], parts: Iterable[Element]
) -> Article:
    """Return an article of `parts` under its heading; below them what was run."""
    ran = element("p", " · ".join((*heading, record.run.started_at)))
    head = element("header", element("h1", title), ran)
    return title, element("article", head, *parts, *_of_run(record))


def table(stacked: Grid) -> Element:
    """Make a table in which the rows of one size and count stand together."""
    heads = [
        (" ".join(filter(None, (group.label, column.title, column.unit))), column)
        for group in stacked.groups
        for column in group.columns
    ]
    titles = (_cell("th", column, head, scope="col") for head, column in heads)
    bodies = (
        element(
            "tbody",
            *(element("tr", *map(partial(_cell, "td"), stacked.columns, row)) for row in rows),
        )
        for _, rows in groupby(stacked.rows, key=lambda row: row[_POINT])
    )
    return element("table", element("thead", element("tr", *titles)), *bodies, class_="figures")


def _cell(tag: str, column: Column, text: str, **attributes: str) -> Element:
    alarming = tag == "td" and column.title == WRONG and text not in ("0", NOTHING)
    style = "alarm" if alarming else "text" if column.is_left else None
    return element(tag, text, class_=style, **attributes)


def section(title: str, texts: Sequence[str], style: str | None = None) -> Element:
    """Make a section of a title and a list, or, without a title, of paragraphs."""
    if not title:
        return element("section", *(element("p", text) for text in texts), class_=style)
    items = element("ul", *(element("li", text) for text in texts))
    return element("section", element("h2", title), items, class_=style)


def _of_run(record: Record) -> list[Element]:
    """Return what was run: the command, its times, its settings."""
    run, shape = record.run, record.topology
    facts = {
        "command": shlex.join(run.command),
        "id": run.id,
        "started": run.started_at,
        "finished": run.finished_at,
        "status": run.status,
        "nvrar-bench": run.version,
        "ranks": shape.ranks,
        "nodes": f"{shape.nodes} virtual" if shape.virtual_nodes else shape.nodes,
        "ranks per node": shape.ranks_per_node,
    }
    return [
        element("section", element("h2", "Run"), _facts(facts)),
        element("section", element("h2", "Ranks"), *_ranks(record)),
        element("section", element("h2", "Environment"), _facts(record.environment)),
        element("section", element("h2", "Settings"), _facts(record.settings)),
    ]


def _facts(facts: Mapping[str, Any]) -> Element:
    rows = []
    for name, value in facts.items():
        try:
            said = _said(value)
        except RecursionError:
            said = "too deeply nested to show"
        rows.append(element("tr", element("th", name, scope="row"), element("td", said)))
    return element("table", element("tbody", *rows), class_="facts")


def _said(value: Any) -> str:
    """Write a fact, which may be anything: as it is, or as JSON if it has parts."""
    if value is None or value == [] or value == {}:
        return "-"
    if isinstance(value, Mapping):
        text = ", ".join(f"{key} {_said(part)}" for key, part in value.items())
    elif isinstance(value, list) and all(isinstance(part, str | int | float) for part in value):
        text = ", ".join(map(str, value))
    else:
        text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} … (more in the record)"


def _ranks(record: Record) -> Iterator[Element]:
    """Say which ranks were where, a row per host and node."""
    found: dict[tuple[str, int], list[RankPlace]] = {}
    for place in record.topology.placement:
        found.setdefault((place.host, place.node), []).append(place)
    titles = (element("th", title, scope="col") for title in ("host", "node", "ranks", "devices"))
    rows = []
    for (host, node), places in found.items():
        ranks = _numbers([place.rank for place in places])
        devices = ", ".join(dict.fromkeys(place.device or "-" for place in places))
        row = (host, str(node), ranks, devices)
        rows.append(element("tr", *(element("td", text) for text in row)))
    yield element(
        "table", element("thead", element("tr", *titles)), element("tbody", *rows[:_MOST_HOSTS])
    )
    if len(rows) > _MOST_HOSTS:
        yield element("p", f"{len(rows) - _MOST_HOSTS} more, in the record.")


def _numbers(ranks: Sequence[int]) -> str:
    """Write consecutive numbers as a span: 0-3, 8, 9."""
    spans: list[list[int]] = []
    for rank in sorted(ranks):
        if spans and rank == spans[-1][-1] + 1:
            spans[-1].append(rank)
        else:
            spans.append([rank])
    return ", ".join(str(s[0]) if len(s) == 1 else f"{s[0]}-{s[-1]}" for s in spans)
