"""Which results belong together."""

from __future__ import annotations

import pytest

from nvrar_bench.documents.comparison import PointKey
from nvrar_bench.statistics.points import points_of
from tests.statistics.records import record, result

STEADY = [[10.0] * 10]


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
