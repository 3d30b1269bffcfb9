"""Launches of one state of the machine."""

from __future__ import annotations

import pytest

from nvrar_bench.compare.comparison import compare
from nvrar_bench.compare.states import Common, common_launches
from nvrar_bench.compare.verdicts import Terms

from .samples import TWICE, record, result


@pytest.mark.parametrize(
    ("base", "new", "chosen"),
    [
        ((0.1,), (0.15,), Common((0,), (0,))),
        ((0.1,), (0.151,), Common((0,), (0,), apart=True)),
        ((0.151, 0.3), (0.1, 0.5), Common((0, 1), (0, 1), apart=True)),
        ((0.1, 0.3, 0.1), (0.3, 0.1, 0.3), Common((0, 2), (1,))),  # as many of each: the faster
        ((0.1, 0.3, 0.3), (0.3, 0.1, 0.3), Common((1, 2), (0, 2))),
        ((0.1, 0.3, 0.3), (0.3, 0.1, 0.1), Common((0,), (1, 2))),
        # What counts is the side with fewer launches in that state.
        ((0.1, 0.1, 0.1, 0.3, 0.3), (0.1, 0.3, 0.3), Common((3, 4), (1, 2))),
        # Nothing is a state of its own that lies between two.
        ((0.1, 0.14, 0.2), (0.1, 0.14, 0.2), Common((0, 1), (0, 1))),
        ((0.1, None), (0.3, 0.3), Common((0, 1), (0, 1))),
        ((0.1, 0.4), (None,), Common((0, 1), (0,))),
        ((), (), Common((), ())),
    ],
)
def test_the_state_that_most_launches_of_both_share(base, new, chosen) -> None:
    assert common_launches(base, new) == chosen
    assert common_launches(new, base) == Common(chosen.new, chosen.base, chosen.apart)


def test_what_is_left_out_is_told() -> None:
    base = record(
        result([*TWICE, [30.0] * 10], yardstick_us=(0.1, 0.1, 0.4)),
        result(TWICE, 8, yardstick_us=(0.1, 0.1)),
    )
    new = record(result(TWICE, yardstick_us=(0.1, 0.1)), result(TWICE, 8, yardstick_us=(0.9, 0.9)))
    document = compare(("a", base), [("b", new)], Terms(), 0)
    (one,) = document.comparisons
    assert [point.verdict for point in one.points] == ["same", "undecided"]
    assert one.notes == (
        "launches of base found the machine in another state, and are left out at 1 of 2 points: "
        "up to 1 of 3",
        "at 1 of 2 points the machine was in another state: a flag between ranks took 0.1 us in "
        "base and 0.9 us in new; measure again, or judge nevertheless with --any-state",
    )
