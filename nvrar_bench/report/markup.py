"""HTML and SVG as trees: what is text stays text, because the serialiser escapes all of it."""

from __future__ import annotations

from xml.etree.ElementTree import Element, tostring

from nvrar_bench.report.grid import printable

Content = Element | str


def element(tag: str, *content: Content, **attributes: object) -> Element:
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


def document(html: Element, style: str) -> str:
    """Write a page; `style` is our own CSS, which HTML does not escape."""
    sheet = Element("style")
    sheet.text = style
    html[0].append(sheet)
    return "<!DOCTYPE html>\n" + tostring(html, encoding="unicode", method="html") + "\n"


def _clean(text: object) -> str:
    return printable(str(text), "utf-8")
