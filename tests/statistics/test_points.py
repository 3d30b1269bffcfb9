"""Results at the same point are told apart by their order."""

from __future__ import annotations

from documents.samples import RESULT
from msgspec.structs import replace

from nvrar_bench.statistics.points import POINT, numbered, point_of


def test_a_point_is_what_results_are_matched_by() -> None:
    assert dict(zip(POINT, point_of(RESULT), strict=True))["size_bytes"] == 4096
    assert point_of(replace(RESULT, warmup=99)) == point_of(RESULT)
    assert point_of(replace(RESULT, variant="x")) != point_of(RESULT)


def test_items_of_the_same_key_are_numbered() -> None:
    assert list(numbered("abaab", str.upper)) == [
        (0, "a"), (0, "b"), (1, "a"), (2, "a"), (1, "b"),
    ]  # fmt: skip
    assert list(numbered([], str)) == []
