"""A page on decode steps: a chart of each step as stacked parts, the table, and what was run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.etree.ElementTree import Element

from nvrar_bench.documents.decode import BackendStep, BatchResult, DecodeRecord
from nvrar_bench.report.columns import how_sure
from nvrar_bench.report.decode import (
    alarms,
    estimate,
    heading,
    label,
    micros,
    milliseconds,
    notes,
    stacked,
)
from nvrar_bench.report.page.chart import COLOURS, Scale, linear, text_at
from nvrar_bench.report.page.frame import Article, article_of, element, section, table
from nvrar_bench.statistics.median import median_of

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 460, 300, 58, 20, 44
_FLOOR, _ROOM = _HEIGHT - _BOTTOM, _HEIGHT - _BOTTOM - _TOP  # of the bars
_GAP = 0.35  # between batches, in bars


def article(record: DecodeRecord) -> Article:
    """Return the article on decode steps."""
    title = f"Decode steps of {record.model.name} on {record.topology.ranks} ranks"
    worst = list(alarms(record))
    said = [text for text in notes(record) if text not in worst]
    above = [section("Errors", worst, "alarm")] if worst else []
    parts = *above, *_figures(record), section("Notes", said)
    return article_of(record, title, heading(record), parts)


def _figures(record: DecodeRecord) -> Iterator[Element]:
    if record.results:
        drawn = element("div", _chart(record.results), class_="charts")
        below = element("div", table(stacked(record)), class_="wide")
        yield element("section", element("h2", "A step and its parts"), drawn, below)


def _chart(results: Sequence[BatchResult]) -> Element:
    """Draw a bar for each backend and batch: the work below, what all-reduces add above."""
    title = "Time of a step: work (pale) and all-reduces (full)"
    names = list(dict.fromkeys(label(one) for result in results for one in result.steps))
    scale = linear([one.step.latency_us.median / 1e3 for r in results for one in r.steps])
    bar = (_WIDTH - _LEFT - 12) / max(1.0, len(results) * (len(names) + _GAP))
    parts = list(_ticks(scale))
    for i, result in enumerate(results):
        left = _LEFT + i * bar * (len(names) + _GAP)
        for one in result.steps:
            place = names.index(label(one))
            drawn = _parts_of_bar(result, one, scale, left + place * bar, bar)
            words = element("title", _words(result, one))
            parts.append(element("g", words, *drawn, class_=f"c{place % COLOURS}"))
        middle = left + bar * len(names) / 2
        parts.append(text_at(middle, _FLOOR + 18, f"{result.batch}", "middle"))
    parts.append(text_at((_LEFT + _WIDTH) / 2, _HEIGHT - 6, "batch, sequences", "middle"))
    heads = element("title", title), text_at(4, _TOP - 8, "ms", "start")
    seen = {"class_": "chart", "viewBox": f"0 0 {_WIDTH} {_HEIGHT}"}
    drawing = element("svg", *heads, *parts, **seen, role="img", aria_label=title)
    legend = element("ul", *(_key(name, i) for i, name in enumerate(names)), class_="key")
    return element("figure", element("figcaption", title), legend, drawing)


def _ticks(scale: Scale) -> Iterator[Element]:
    for value, text in scale.ticks:
        y = _FLOOR - scale.place(value) * _ROOM
        yield element("path", d=f"M{_LEFT},{y:.1f}H{_WIDTH - 12}", class_="grid")
        yield text_at(_LEFT - 6, y + 4, text, "end")


def _parts_of_bar(
    result: BatchResult, one: BackendStep, scale: Scale, x: float, bar: float
) -> Iterator[Element]:
    whole_us = one.step.latency_us.median
    # No more than the step, whose noise may make it less than the work alone.
    work_us = min(result.work.latency_us.median, whole_us) if result.work else 0.0
    work, whole = (_ROOM * scale.place(us / 1e3) for us in (work_us, whole_us))
    there, back = f"h{0.9 * bar:.1f}", f"h-{0.9 * bar:.1f}Z"
    yield element("path", d=f"M{x:.1f},{_FLOOR}{there}v-{work:.1f}{back}", class_="work")
    rest = f"M{x:.1f},{_FLOOR - work:.1f}{there}v-{whole - work:.1f}{back}"
    yield element("path", d=rest, class_="comm")


def _words(result: BatchResult, one: BackendStep) -> str:
    step, added = median_of(one.step.latency_us), estimate(one.all_reduce_us)
    comm = f", all-reduces {micros(added.value)} µs {how_sure(added)}" if added else ""
    return (
        f"{label(one)}, batch {result.batch}: {milliseconds(step.value)} ms {how_sure(step)}{comm}"
    )


def _key(name: str, look: int) -> Element:
    square = element("path", d="M0,2H14V14H0Z", class_="comm")
    seen = {"class_": f"c{look % COLOURS}", "viewBox": "0 0 14 14", "width": 14, "height": 14}
    return element("li", element("svg", square, **seen, aria_hidden="true"), " ", name)
