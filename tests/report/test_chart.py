"""Axes, at any values that a record may hold."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvrar_bench.report.chart import Scale, linear, logarithmic, of_sizes
from nvrar_bench.units import format_size

VALUES = st.lists(st.floats(1e-290, 1e12), min_size=1, max_size=9)


def texts(scale: Scale) -> list[str]:
    return [text for _, text in scale.ticks]


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([23.8], ["20", "30", "40"]),
        ([2.3, 240.0], ["5", "10", "20", "50", "100", "200"]),
        ([1.0, 2000.0], ["1", "10", "100", "1000"]),
        ([1e-3, 1e12], ["0.001", "1", "1000", "1e+06", "1e+09", "1e+12"]),
    ],
)
def test_ticks_of_a_logarithmic_axis_are_round(values, ticks) -> None:
    assert texts(logarithmic(values)) == ticks


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([5.51], ["0", "1", "2", "3", "4", "5", "6"]),
        ([60.0], ["0", "10", "20", "30", "40", "50", "60", "70"]),
        ([0.31], ["0", "0.1", "0.2", "0.3", "0.4"]),
        ([0.0], ["0", "0.2", "0.4", "0.6", "0.8", "1", "1.2"]),
    ],
)
def test_ticks_of_a_linear_axis_begin_at_0(values, ticks) -> None:
    assert texts(linear(values)) == ticks


def test_equal_factors_are_equal_distances() -> None:
    scale = logarithmic([1.0, 100.0])
    assert scale.place(10) - scale.place(1) == pytest.approx(scale.place(100) - scale.place(10))
    assert scale.place(0.0) == 0.0
    assert scale.place(1e9) == 1.0


def test_sizes_are_ticks_where_there_is_room() -> None:
    sizes = [131072 << i for i in range(5)]
    assert texts(of_sizes(sizes, format_size, 50)) == ["128K", "256K", "512K", "1M", "2M"]
    many = [1000 + i for i in range(100)]
    few = of_sizes(many, format_size, 50).ticks
    assert len(few) < 12
    assert few[0] == (1000, "1000")


@given(values=VALUES)
def test_every_value_lies_on_its_axis_between_ticks(values) -> None:
    for scale in (logarithmic(values), linear(values)):
        assert all(0 <= scale.place(value) <= 1 for value in values)
        assert scale.place(min(values)) <= scale.place(max(values))
        assert 2 <= len(scale.ticks) <= 20
        places = [scale.place(value) for value, _ in scale.ticks]
        assert places == sorted(places)


@given(sizes=st.lists(st.integers(1, 2**63 - 1), min_size=1, max_size=30))
def test_texts_of_sizes_do_not_overlap(sizes) -> None:
    scale = of_sizes(sizes, format_size, 54)
    ends = [(scale.place(v), len(text) / 2 / 54) for v, text in scale.ticks]
    pairs = pairwise(ends)
    assert [1 for (a, half), (b, other) in pairs if a + half > b - other] == []
    assert scale.ticks
