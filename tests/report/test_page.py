"""The page: complete in itself, and nothing in it but what was meant."""

from __future__ import annotations

import re

from hypothesis import given
from msgspec.structs import replace

from nvrar_bench.documents.record import RankPlace, RunRecord
from nvrar_bench.report.grid import printable
from nvrar_bench.report.page import encode
from nvrar_bench.report.page.frame import _numbers, _said
from tests.statistics.records import FAILED, record, result

from .golden_files import full
from .nasty import SCRIPT, TEXTS, with_text
from .test_frame import Seen

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


def test_a_row_of_ranks_per_host_and_node() -> None:
    places = tuple(RankPlace(i, f"n{i // 8}", i // 8, i % 8, f"cuda:{i % 8}") for i in range(1600))
    run = full()
    run = replace(run, topology=replace(run.topology, placement=places))
    text = "\n".join(Seen(encode([run])).texts)
    assert "8-15" in text
    assert "136 more, in the record." in text
    assert _numbers([5, 0, 1, 2, 9, 10]) == "0-2, 5, 9-10"
