"""Charts: a point for every result that can be drawn, and none that misleads."""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element

import pytest
from msgspec.structs import replace

from nvrar_bench.documents.record import RunRecord
from nvrar_bench.report.columns import Series
from nvrar_bench.report.page import encode
from nvrar_bench.report.page import run as charts
from tests.statistics.records import FAILED, record, result

from .golden_files import full
from .test_frame import Seen


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
