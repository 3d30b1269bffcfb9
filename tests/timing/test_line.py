"""The line through offsets of two clocks, and its bound on the error."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvrar_bench.timing.line import MAX_DRIFT, MOMENTS, ClockLine, Moment

SECOND = 10**9
NOW = 3_600 * SECOND


def truth(own: int, ppm: int) -> int:
    """A clock that is 5 s ahead at NOW, and gains."""
    return own + 5 * SECOND + (own - NOW) * ppm // 10**6


def moments(ppm: int, errors: list[int], spacing: int = SECOND) -> ClockLine:
    """Offsets that are wrong by `errors`, of which the line knows the size."""
    line = ClockLine()
    for i, error in enumerate(errors):
        own = NOW + i * spacing
        line = line.with_moment(Moment(own, truth(own, ppm) - own + error, abs(error)))
    return line


def shown(line: ClockLine, own: int) -> int:
    return int(line.to_other(np.array([own]))[0])


def test_without_a_moment_two_clocks_are_one():
    line = ClockLine()
    assert (shown(line, NOW), line.to_own(NOW), line.error_ns(NOW), line.drift) == (NOW, NOW, 0, 0)


def test_one_moment_gives_an_offset_and_no_drift():
    line = moments(50, [0])
    assert shown(line, NOW) == NOW + 5 * SECOND
    assert line.to_own(NOW + 5 * SECOND) == NOW
    assert line.error_ns(NOW) == 0
    assert line.error_ns(NOW + SECOND) == line.error_ns(NOW - SECOND) == MAX_DRIFT * SECOND
    assert abs(shown(line, NOW + SECOND) - truth(NOW + SECOND, 50)) <= line.error_ns(NOW + SECOND)


@pytest.mark.parametrize("ppm", [-50, 0, 50])
@pytest.mark.parametrize("count", [2, 3, MOMENTS])
def test_exact_offsets_give_the_drift_and_both_conversions(ppm, count):
    line = moments(ppm, [0] * count)
    assert line.drift == pytest.approx(ppm * 1e-6, abs=1e-12)
    for own in (NOW, NOW + SECOND // 3, NOW + 60 * SECOND):
        assert abs(shown(line, own) - truth(own, ppm)) <= 1
        assert abs(line.to_own(truth(own, ppm)) - own) <= 1
        assert line.error_ns(own) < 1


@given(
    ppm=st.integers(-100, 100),
    errors=st.lists(st.integers(-2_000, 2_000), min_size=2, max_size=MOMENTS),
    after=st.integers(-10 * SECOND, 100 * SECOND),
)
def test_a_conversion_is_never_more_wrong_than_is_said(ppm, errors, after):
    line, own = moments(ppm, errors), NOW + after
    assert abs(shown(line, own) - truth(own, ppm)) <= line.error_ns(own) + 2
    assert abs(line.to_own(truth(own, ppm)) - own) <= (line.error_ns(own) + 2) / (1 - 1e-3)


def test_between_two_moments_the_bound_is_theirs_and_beyond_it_grows():
    line = moments(0, [100, 100])
    assert line.error_ns(NOW) == line.error_ns(NOW + SECOND) == pytest.approx(100)
    assert line.error_ns(NOW + 2 * SECOND) == pytest.approx(300)  # twice one, and the other
    assert line.error_ns(NOW + 11 * SECOND) == pytest.approx(2100)


def test_what_is_no_line_adds_to_the_error():
    straight, bent = moments(0, [0, 0, 0]), ClockLine()
    for i, offset in enumerate((0, 900, 0)):
        bent = bent.with_moment(Moment(NOW + i * SECOND, offset, 0))
    assert straight.error_ns(NOW) == 0
    assert bent.error_ns(NOW) == pytest.approx(600)


def test_frequent_renewals_do_not_shorten_the_base():
    line = moments(0, [0] * 100, spacing=SECOND // 10)
    kept = [moment.own_ns for moment in line.moments]
    assert len(kept) == MOMENTS
    assert kept[-1] == NOW + 99 * SECOND // 10
    assert min(np.diff(kept[:-1])) >= SECOND // 2
