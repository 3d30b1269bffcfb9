"""What was run, and where: short enough for a page."""

from __future__ import annotations

from msgspec.structs import replace

from nvrar_bench.documents.record import RankPlace
from nvrar_bench.report.page import encode
from nvrar_bench.report.page_facts import _numbers, _said

from .golden_files import full
from .test_markup import Seen


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
