"""A comparison as Markdown, for a pull request: the summary first, then tables, then remarks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from nvrar_bench.documents.comparison import ComparedPoint, Comparison, ComparisonDocument
from nvrar_bench.report.comparison import cells, groups, percent, remarks, summary, titles
from nvrar_bench.report.show import printable

# What Markdown or HTML would take for more than text. Names come from other people's files.
_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~&])")
_RIGHT, _LEFT = "---:", ":---"
_ALARMING = ("slower", "wrong")


def encode(document: ComparisonDocument) -> str:
    """Return the comparison as GitHub-flavoured Markdown."""
    parts = [_section(document, comparison) for comparison in document.comparisons]
    return "\n".join(line for part in parts for line in part)


def _section(document: ComparisonDocument, comparison: Comparison) -> Iterator[str]:
    yield f"**{_text(summary(comparison, document.threshold))}**"
    yield ""
    yield (
        f"{_text(comparison.new.file)} against {_text(document.base.file)}; ratios are new / base "
        f"with their {percent(document.confidence)} interval."
    )
    yield ""
    for title, points in groups(comparison.points):
        yield from _table(title, points)
    yield from (f"- {_text(remark)}" for remark in remarks(comparison))
    yield ""


def _table(title: str, points: Sequence[ComparedPoint]) -> Iterator[str]:
    yield _text(title)
    yield ""
    heads = titles("µs")
    yield _row(heads)
    yield _row([_LEFT, *[_RIGHT] * (len(heads) - 2), _LEFT])
    for point in points:
        *row, verdict = cells(point)
        yield _row([*map(_text, row), f"**{verdict}**" if verdict in _ALARMING else verdict])
    yield ""


def _row(cells_of_row: Sequence[str]) -> str:
    return f"| {' | '.join(cells_of_row)} |"


def _text(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", printable(text, "utf-8"))
