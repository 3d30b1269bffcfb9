"""Which results belong together; those at the same point are told apart by their order."""

from __future__ import annotations

import pytest
from documents.samples import RESULT
from msgspec.structs import replace

from nvrar_bench.documents.comparison import PointKey
from nvrar_bench.statistics.points import POINT, numbered, point_of, points_of
from tests.statistics.records import record, result

STEADY = [[10.0] * 10]


def test_a_point_is_what_results_are_matched_by() -> None:
    assert dict(zip(POINT, point_of(RESULT), strict=True))["size_bytes"] == 4096
    assert point_of(replace(RESULT, warmup=99)) == point_of(RESULT)
    assert point_of(replace(RESULT, variant="x")) != point_of(RESULT)


def test_items_of_the_same_key_are_numbered() -> None:
    assert list(numbered("abaab", str.upper)) == [
        (0, "a"), (0, "b"), (1, "a"), (2, "a"), (1, "b"),
    ]  # fmt: skip
    assert list(numbered([], str)) == []


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("backend", "mpi"), ("variant", "packet"), ("device", "cuda"), ("buffers", "private"),
        ("dtype", "int8"), ("op", "max"), ("placement", "in_place"), ("size_bytes", 8),
        ("count", 7),
    ],
)  # fmt: skip
def test_every_part_of_the_case_makes_another_point(name: str, other: object) -> None:
    one, changed = result(STEADY), result(STEADY, **{name: other})
    keys = list(points_of(record(one, changed)))
    assert len(keys) == 2
    assert getattr(keys[1], name) == other
    assert [key.repeat for key in keys] == [0, 0]


def test_what_was_measured_makes_no_other_point() -> None:
    slower = result([[20.0] * 9], warmup=9, stop_reason="precision", warnings=("w",))
    assert list(points_of(record(result(STEADY)))) == list(points_of(record(slower)))


def test_the_same_point_again_is_the_second() -> None:
    first, other, second = result(STEADY), result(STEADY, 8), result([[9.0] * 10])
    points = points_of(record(first, other, second))
    assert [key.repeat for key in points] == [0, 0, 1]
    assert list(points.values()) == [first, other, second]


def test_a_point_has_a_name() -> None:
    key = PointKey(
        "nvrar", "signal", "cpu", "private", "int8", "max", "in_place", 131072, 131072, 1
    )
    assert str(key) == (
        "nvrar signal at 128K #2 (131072 elements), int8 max, in place, private buffers, cpu"
    )
