"""A page on decode steps: a chart of each step as stacked parts, the table, and what was run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.etree.ElementTree import Element

from nvrar_bench.documents.decode import BackendStep, BatchResult, DecodeRecord
from nvrar_bench.report import page
from nvrar_bench.report.chart import COLOURS, linear, text_at
from nvrar_bench.report.columns import how_sure
from nvrar_bench.report.decode.table import stacked
from nvrar_bench.report.decode.words import (
    alarms,
    estimate,
    heading,
    label,
    micros,
    milliseconds,
    notes,
)
from nvrar_bench.report.markup import element
from nvrar_bench.statistics.median import median_of

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 460, 300, 58, 20, 44
_GAP = 0.35  # between batches, in bars


def encode(records: Sequence[DecodeRecord]) -> str:
    """Return the page on `records`, one below the other."""
    return page.html([(_title(record), _article(record)) for record in records])


def _title(record: DecodeRecord) -> str:
    return f"Decode steps of {record.model.name} on {record.topology.ranks} ranks"


def _article(record: DecodeRecord) -> Element:
    worst = list(alarms(record))
    said = [text for text in notes(record) if text not in worst]
    return element(
        "article",
        element("header", element("h1", _title(record)),
                element("p", " · ".join((*heading(record), record.run.started_at)))),
        *([page.section("Errors", worst, "alarm")] if worst else []),
        *_figures(record),
        page.section("Notes", said),
        *page.of_run(record),
    )  # fmt: skip


def _figures(record: DecodeRecord) -> Iterator[Element]:
    if not record.results:
        return
    names = list(dict.fromkeys(label(one) for r in record.results for one in r.steps))
    yield element(
        "section", element("h2", "A step and its parts"),
        element("div", _chart(record.results, names), class_="charts"),
        element("div", page.table(stacked(record)), class_="wide"),
    )  # fmt: skip


def _chart(results: Sequence[BatchResult], names: Sequence[str]) -> Element:
    """Draw a bar for each backend and batch: the work below, what all-reduces add above."""
    title = "Time of a step: work (pale) and all-reduces (full)"
    scale = linear([one.step.latency_us.median / 1e3 for r in results for one in r.steps])
    floor, room = _HEIGHT - _BOTTOM, _HEIGHT - _BOTTOM - _TOP
    bar = (_WIDTH - _LEFT - 12) / max(1.0, len(results) * (len(names) + _GAP))
    parts = []
    for value, text in scale.ticks:
        y = floor - scale.place(value) * room
        parts.append(element("path", d=f"M{_LEFT},{y:.1f}H{_WIDTH - 12}", class_="grid"))
        parts.append(text_at(_LEFT - 6, y + 4, text, "end"))
    for i, result in enumerate(results):
        left = _LEFT + i * bar * (len(names) + _GAP)
        for one in result.steps:
            x = left + names.index(label(one)) * bar
            work, whole = (
                room * scale.place(us / 1e3) for us in (_work_us(result, one), _step_us(one))
            )
            parts.append(_bar(result, one, names, (x, bar, floor, work, whole)))
        parts.append(text_at(left + bar * len(names) / 2, floor + 18, f"{result.batch}", "middle"))
    parts.append(text_at((_LEFT + _WIDTH) / 2, _HEIGHT - 6, "batch, sequences", "middle"))
    drawing = element(
        "svg", element("title", title), text_at(4, _TOP - 8, "ms", "start"), *parts,
        class_="chart", viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img", aria_label=title,
    )  # fmt: skip
    keys = (_key(name, i) for i, name in enumerate(names))
    return element(
        "figure", element("figcaption", title), element("ul", *keys, class_="key"), drawing
    )


def _bar(
    result: BatchResult, one: BackendStep, names: Sequence[str],
    at: tuple[float, float, float, float, float],
) -> Element:  # fmt: skip
    x, bar, floor, work, whole = at
    wide = f"h{0.9 * bar:.1f}"
    return element(
        "g", element("title", _words(result, one)),
        element("path", d=f"M{x:.1f},{floor}{wide}v-{work:.1f}h-{0.9 * bar:.1f}Z", class_="work"),
        element("path", d=f"M{x:.1f},{floor - work:.1f}{wide}v-{whole - work:.1f}"
                f"h-{0.9 * bar:.1f}Z", class_="comm"),
        class_=f"c{names.index(label(one)) % COLOURS}",
    )  # fmt: skip


def _step_us(one: BackendStep) -> float:
    return one.step.latency_us.median


def _work_us(result: BatchResult, one: BackendStep) -> float:
    """Return what is drawn as work: no more than the step, whose noise may make it less."""
    return min(result.work.latency_us.median, _step_us(one)) if result.work else 0.0


def _words(result: BatchResult, one: BackendStep) -> str:
    step, added = median_of(one.step.latency_us), estimate(one.all_reduce_us)
    comm = f", all-reduces {micros(added.value)} µs {how_sure(added)}" if added else ""
    return (
        f"{label(one)}, batch {result.batch}: {milliseconds(step.value)} ms {how_sure(step)}{comm}"
    )


def _key(name: str, look: int) -> Element:
    sample = element(
        "svg", element("path", d="M0,2H14V14H0Z", class_="comm"),
        class_=f"c{look % COLOURS}", viewBox="0 0 14 14", width=14, height=14, aria_hidden="true",
    )  # fmt: skip
    return element("li", sample, " ", name)
