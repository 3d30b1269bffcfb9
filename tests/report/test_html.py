"""What is text stays text."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given

from nvrar_bench.report.grid import printable
from nvrar_bench.report.html import document, element

from .nasty import SCRIPT, TEXTS


class Seen(HTMLParser):
    """The tags, attributes and texts of a page, as a browser would find them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def page(*content: str, **attributes: str) -> str:
    body = element("body", element("p", *content, **attributes))
    return document(element("html", element("head"), body), "p { color: red }")


def test_texts_and_elements_keep_their_order() -> None:
    made = page("a", element("b", "c"), "d", "e", element("i"), "f")
    assert "<p>a<b>c</b>de<i></i>f</p>" in made
    assert made.startswith("<!DOCTYPE html>\n<html><head><style>p { color: red }</style></head>")


def test_attributes_are_called_as_in_python() -> None:
    made = page(class_="x", stroke_width=2, viewBox="0 0 1 1", title=None)
    assert '<p class="x" stroke-width="2" viewBox="0 0 1 1"></p>' in made


def test_a_script_is_a_text() -> None:
    seen = Seen(page(SCRIPT, title=SCRIPT))
    assert seen.tags == ["html", "head", "style", "body", "p"]
    assert SCRIPT in "".join(seen.texts)
    assert seen.attributes == [("title", SCRIPT)]


@given(text=TEXTS)
def test_any_text_is_read_back(text: str) -> None:
    seen, shown = Seen(page(text, title=text)), printable(text, "utf-8")
    assert seen.tags == ["html", "head", "style", "body", "p"]
    assert seen.attributes == [("title", shown)]
    assert "".join(seen.texts).split("\n", 1)[1] == f"p {{ color: red }}{shown}\n"
