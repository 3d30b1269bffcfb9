"""The comparison on the screen and as Markdown, against golden files.

After a wanted change, `UPDATE_GOLDEN=1 pytest tests/report` writes the files anew; read the diff.
"""

from __future__ import annotations

import os
import re
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path

from msgspec.structs import replace
from rich.console import Console

from nvrar_bench.documents.comparison import ComparisonDocument
from nvrar_bench.report import comparison
from tests.statistics.records import known

GOLDEN = Path(__file__).parent / "golden"


def piped(document: ComparisonDocument) -> str:
    file = StringIO()
    comparison.write(document, Console(file=file, width=400, _environ={}))
    return file.getvalue()


def on_terminal(document: ComparisonDocument) -> str:
    file = StringIO()
    console = Console(
        file=file, width=120, force_terminal=True, color_system="standard", legacy_windows=False,
        _environ={},
    )  # fmt: skip
    comparison.write(document, console)
    return file.getvalue()


def matches(name: str, text: str) -> bool:
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    return text == path.read_text(encoding="utf-8")


def test_piped_output() -> None:
    assert matches("comparison.piped.txt", piped(known()))


def test_terminal_output() -> None:
    assert matches("comparison.terminal.txt", on_terminal(known()))


def test_markdown() -> None:
    assert matches("comparison.md", comparison.encode(known()))


def test_data_lines_are_all_that_is_no_comment() -> None:
    rows = [line for line in piped(known()).splitlines() if not line.startswith("#")]
    assert [row.split()[-1] for row in rows] == [
        "slower", "same", "faster", "same", "undecided", "wrong", "undecided",
    ]  # fmt: skip


def test_colours_are_those_of_the_verdict() -> None:
    text = on_terminal(known())
    for verdict, style in {"slower": "1;31", "faster": "32", "undecided": "33"}.items():
        assert re.search(rf"\x1b\[{style}m *{verdict}", text), verdict


def nasty() -> ComparisonDocument:
    document = known()
    first = document.comparisons[0]
    point = replace(first.points[0], backend="<b>|`x`\n\x1b[2J", variant="*[é](u)")
    return replace(document, comparisons=(replace(first, points=(point,)),))


def test_names_are_text_on_the_screen() -> None:
    for text in (piped(nasty()), on_terminal(nasty())):
        assert "<b>|`x`??[2J *[?](u)" in text
        assert "\x1b[2J" not in text


def test_names_are_text_in_markdown() -> None:
    text = comparison.encode(nasty())
    assert r"| \<b\>\|\`x\`??\[2J \*\[?\](u) |" in text
    assert "\x1b" not in text


def test_an_output_that_knows_ascii_alone_gets_ascii() -> None:
    content = BytesIO()
    file = TextIOWrapper(content, encoding="ascii")
    comparison.write(known(), Console(file=file, width=400, _environ={}))
    file.flush()
    assert b"base us" in content.getvalue()


def test_one_point_is_not_many() -> None:
    assert comparison.summary(known().comparisons[1], 0.125).startswith(
        "1 point at a threshold of 12.5 %: 1 undecided; 6 missing"
    )


def test_more_launches_than_anybody_waits_for_are_no_advice() -> None:
    point = replace(known().comparisons[0].points[0], verdict="undecided", launches_needed=995)
    (line,) = comparison.undecided([point])
    assert "about 995 launches" in line
    assert line.endswith(": keep other work off the machine, or raise --threshold")
