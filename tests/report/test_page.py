"""The page: complete in itself, and nothing in it but what was meant."""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element

import pytest
from hypothesis import given
from msgspec.structs import replace

from nvrar_bench.documents.record import RankPlace, RunRecord
from nvrar_bench.documents.run_file import encode as encode_record
from nvrar_bench.errors import NvrarBenchError
from nvrar_bench.report import page as charts
from nvrar_bench.report.columns import Series
from nvrar_bench.report.grid import printable
from nvrar_bench.report.html import _numbers, _said
from nvrar_bench.report.page import encode
from tests.statistics.records import FAILED, record, result

from .golden_files import full
from .nasty import SCRIPT, TEXTS, with_text
from .test_html import Seen

TAGS = (
    *("html", "head", "meta", "title", "style", "body", "article", "header", "h1", "h2", "p"),
    *("section", "ul", "li", "div", "figure", "figcaption", "small", "svg", "path", "g", "text"),
    *("table", "thead", "tbody", "tr", "th", "td", "footer", "details", "summary"),
)


def text_of(*records: RunRecord) -> str:
    return "\n".join(Seen(encode(records)).texts)


def test_it_loads_nothing_and_runs_nothing() -> None:
    made = encode([full()])
    seen = Seen(made)
    assert set(seen.tags) <= set(TAGS)
    assert {name for name, _ in seen.attributes} & {"src", "href", "onload", "style"} == set()
    assert re.findall(r"url\(|@import|https?://", made) == []
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in seen.attributes


def test_all_that_is_known_of_the_run_is_there() -> None:
    run = full()
    text = text_of(run)
    for said in (
        "sweep --min 128K", run.run.id, run.run.started_at, "AMD EPYC 7B13 64-Core Processor",
        "2 virtual", "float32 sum, out of place, symmetric buffers", "18.08..19.95", "7.50x",
        "nccl: nccl4py is not installed: pip install nvrar-bench[cuda13]",
        "WrongResult: nvrar: 17 of 2048 elements are wrong", "the run is not complete: failed",
        "Wrong results",
    ):  # fmt: skip
        assert said in text, said
    assert "0-1" in text  # ranks of the first node


def test_a_complete_run_alarms_nobody() -> None:
    run = record(result([[1.0] * 20]))
    assert 'class="alarm"' not in encode([run])
    assert 'class="alarm"' in encode([record(result([[1.0]], check=FAILED))])


def test_several_runs_are_below_each_other() -> None:
    assert Seen(encode([full(), full()])).tags.count("article") == 2


def test_a_size_that_a_series_lacks_has_no_row() -> None:
    run = record(result([[5.0]]), result([[5.0]], 8), result([[6.0]], backend="mpi"))
    body = encode([run]).split('class="figures"')[1].split("</table>")[0]
    assert body.count("<tr>") - 1 == 3


def test_a_script_anywhere_is_harmless() -> None:
    made = encode([with_text(SCRIPT)])
    assert set(Seen(made).tags) <= set(TAGS)
    assert "<script" not in made
    assert made.count("</style>") == 1


@given(text=TEXTS)
def test_any_text_is_shown_and_adds_no_tag(text: str) -> None:
    plain, seen = Seen(encode([with_text("x")])), Seen(encode([with_text(text)]))
    assert seen.tags == plain.tags
    assert set(seen.tags) <= set(TAGS)
    assert {name for name, _ in seen.attributes} == {name for name, _ in plain.attributes}
    assert printable(text, "utf-8") in "".join(seen.texts)


def test_a_long_fact_is_cut_and_says_so() -> None:
    assert _said(["x" * 30] * 40).endswith(" … (more in the record)")
    assert _said({"a": 1, "b": [1.5, 2], "c": None}) == "a 1, b 1.5, 2, c -"


def test_facts_that_are_nested_too_deeply_are_told_of() -> None:
    nested: object = 1
    for _ in range(700):
        nested = {"a": nested}
    run = full().with_environment({"strange": nested})
    assert "too deeply nested to show" in text_of(run)
    with pytest.raises(NvrarBenchError, match="cannot be written as JSON"):
        encode_record(run)


def test_a_row_of_ranks_per_host_and_node() -> None:
    places = tuple(RankPlace(i, f"n{i // 8}", i // 8, i % 8, f"cuda:{i % 8}") for i in range(1600))
    run = full()
    run = replace(run, topology=replace(run.topology, placement=places))
    text = "\n".join(Seen(encode([run])).texts)
    assert "8-15" in text
    assert "136 more, in the record." in text
    assert _numbers([5, 0, 1, 2, 9, 10]) == "0-2, 5, 9-10"


def drawn(run: RunRecord) -> list[Element]:
    """The charts of a run, as trees."""
    looks = charts.looks(run)
    return [
        figure
        for title, results in charts.groups(run)
        for figure in charts.figures(title, results, looks)
    ]


def markers(figure: Element) -> list[Element]:
    chart = figure.find("svg")
    assert chart is not None
    return [path for path in chart.iter("path") if path.get("class", "").startswith("marker")]


def test_a_chart_of_latency_and_one_of_bandwidth_for_each_group() -> None:
    groups = len(list(charts.groups(full())))
    assert len(drawn(full())) == 2 * groups
    assert Seen(encode([full()])).tags.count("figure") == 2 * groups


def test_a_series_looks_the_same_on_all_charts() -> None:
    looks = charts.looks(full())
    assert looks[Series("mpi", ("",)), 0] == 0
    assert len(set(looks.values())) == len(looks)
    legend = re.findall(r'<li><svg class="(c\d)".*?</svg> ([^<]*)</li>', encode([full()]))
    assert len(set(legend)) == len({label for _, label in legend}) >= 3


def test_a_point_for_each_result_with_its_interval() -> None:
    run = record(
        *(result([[float(size + i % 7) for i in range(200)]], size) for size in (8, 16, 64))
    )
    latency, bandwidth = drawn(run)
    assert len(markers(latency)) == len(markers(bandwidth)) == 3
    for figure in (latency, bandwidth):
        assert len([p for p in figure.iter("path") if p.get("class") == "interval"]) == 3


def test_bars_reach_from_end_to_end_of_the_interval() -> None:
    one = result([[1.0]], 8)
    one = replace(one, latency_us=replace(one.latency_us, ci95_low=0.5, ci95_high=2.0))
    one = replace(one, busbw_gb_per_s=8.0)
    figures = [kind.figure(one) for kind in charts.CHARTS]
    assert [(each.low, each.high) for each in figures] == [(0.5, 2.0), (4.0, 16.0)]


@pytest.mark.parametrize(
    ("results", "points"),
    [
        ((), []),
        ((result([[5.0]]),), [1, 1]),
        ((result([[5.0]], 0),), []),
        ((result([[5.0]], 0), result([[5.0]], 8)), [1, 1]),
        ((result([[5.0]]), result([[6.0]])), [2, 2]),
        ((result([[0.001] * 30]), result([[1e12]], 2**62)), [2, 2]),
    ],
)
def test_what_cannot_be_drawn_is_left_out(results, points) -> None:
    run = record(*results)
    assert [len(markers(figure)) for figure in drawn(run)] == points
    assert "</html>" in encode([run])


def test_one_rank_has_no_bandwidth_between_ranks() -> None:
    one = replace(result([[5.0]]), busbw_gb_per_s=0.0)
    assert [len(markers(figure)) for figure in drawn(record(one))] == [1, 1]


def test_a_wrong_result_is_hollow() -> None:
    run = record(result([[5.0]], check=FAILED), result([[5.0]], 8))
    for figure in drawn(run):
        assert [m.get("class") for m in markers(figure)] == ["marker", "marker wrong"]
        assert "Hollow: wrong." in "".join(figure.itertext())


def test_no_number_on_a_chart_is_nan_or_infinite() -> None:
    made = encode([full(), record(result([[0.001] * 9]), result([[1e12]], 8))])
    assert re.findall(r'="[^"]*\b(nan|inf)\b', made) == []


def test_a_line_of_a_backend_is_marked_where_its_protocol_changes() -> None:
    sizes = {8: "packet", 16: "packet", 64: "signal"}
    run = record(
        *(
            replace(result([[float(size + i % 7) for i in range(200)]], size), variant=variant)
            for size, variant in sizes.items()
        )
    )
    for figure in drawn(run):
        assert len(figure.findall("ul/li")) == 1
        said = [text.text for text in figure.iter("text") if text.text in sizes.values()]
        assert said == ["packet", "signal"]
