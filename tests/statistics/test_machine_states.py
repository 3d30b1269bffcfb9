"""One state of the machine: which stretches of which launches were measured in it."""

from __future__ import annotations

import numpy as np
import pytest

from nvrar_bench.statistics.machine_states import (
    LEAST_PART,
    LEAST_SAMPLES,
    STEP_US,
    TOLERANCE,
    Stretches,
    common_state,
    cut_launches,
    is_near,
)

CALM, BUSY, FAR = (0.09, 2.0, 2.3), (0.09, 2.8, 3.6), (0.25, 5.3, 3.4)
STATES = {"c": CALM, "b": BUSY, "f": FAR, "?": (np.nan,) * 3}


def launch(visits: str, samples: int = 100) -> Stretches:
    """A stretch of `samples` for each letter of STATES."""
    return Stretches(
        np.full(len(visits), samples), np.array([STATES[v] for v in visits]).reshape(-1, 3)
    )


def run(*visits: str, samples: int = 100) -> list[Stretches]:
    return [launch(each, samples) for each in visits]


@pytest.mark.parametrize(
    ("base", "new", "chosen"),
    [
        # The fastest that both were in, however short, if hardly fewer launches were in it.
        (["ccbb"], ["cbbb"], (["1100"], ["1000"])),
        (["cbbb"] * 3, ["cbbb", "cbbb", "bbbb"], (["1000"] * 3, ["1000", "1000", "0000"])),
        (["cbbb"] * 3, ["cbbb", "bbbb", "bbbb"], (["0111"] * 3, ["0111", "1111", "1111"])),
        # What counts is the side with fewer launches in it.
        (["c", "c", "c", "f"], ["f", "f"], (["0", "0", "0", "1"], ["1", "1"])),
        (["c", "b", "c"], ["b", "c", "b"], (["1", "0", "1"], ["0", "1", "0"])),
        # Without a common state all of it.
        (["cc", "b"], ["ff"], None),
        # Nothing is known.
        (["c?"], ["b"], (["11"], ["1"])),
        (["c"], ["?"], (["1"], ["1"])),
    ],
)
def test_the_fastest_state_that_both_sides_were_in(base, new, chosen) -> None:
    found, turned = common_state(run(*base), run(*new)), common_state(run(*new), run(*base))
    wanted = chosen or ([each.translate(ONES) for each in base], ["11"])
    assert [[_written(mask) for mask in side] for side in found.chosen] == list(wanted)
    assert [[_written(mask) for mask in side] for side in turned.chosen] == list(wanted)[::-1]
    assert found.apart == turned.apart == (chosen is None)


ONES = str.maketrans("cbf", "111")


def _written(mask: np.ndarray) -> str:
    return "".join(str(int(one)) for one in mask)


def test_of_one_run_too() -> None:
    found = common_state(run("ccb", "bbb", "ccc"))
    assert [_written(mask) for mask in found.chosen[0]] == ["110", "000", "111"]
    assert found.centre_us == pytest.approx(CALM)


def test_nothing_at_all() -> None:
    assert common_state([]).chosen == ((),)
    assert common_state([], run("c")).chosen[0] == ()


@pytest.mark.parametrize(
    ("calm", "busy", "is_calm"),
    [
        (LEAST_SAMPLES, 100, True),
        (LEAST_SAMPLES - 1, 100, False),
        (LEAST_SAMPLES, LEAST_SAMPLES / LEAST_PART - LEAST_SAMPLES, True),
        (LEAST_SAMPLES, LEAST_SAMPLES / LEAST_PART, False),
        (10, 10, True),  # half
        (9, 11, False),
    ],
)
def test_a_launch_was_in_a_state_with_so_many_samples(calm, busy, is_calm) -> None:
    one = Stretches(np.array([calm, busy], np.int64), np.array([CALM, BUSY]))
    ((mask,),) = common_state([one]).chosen
    assert mask.tolist() == [is_calm, not is_calm]


def test_of_a_few_samples_most_are_of_no_state() -> None:
    readings = np.array([CALM, BUSY, FAR])
    found = common_state([Stretches(np.array([4, 4, 4]), readings)])
    assert found.apart
    assert found.chosen[0][0].all()


def test_a_state_is_as_wide_as_its_readings_spread_and_found_from_its_edge() -> None:
    generator = np.random.default_rng(3)
    spread = np.exp(generator.uniform(-0.04, 0.04, (200, 3)))
    readings = np.concatenate([CALM * spread[:150], BUSY * spread[150:]])
    ((mask,),) = common_state([Stretches(np.full(200, 10), readings)]).chosen
    assert mask[:150].mean() > 0.95
    assert not mask[150:].any()


def test_readings_of_one_state_are_near_its_centre_or_a_step_of_the_clock_away() -> None:
    centre = np.array([0.1, 2.0, 2.3])
    for place, part in enumerate(TOLERANCE):
        for sign in (-1, 1):
            for times, near in ((0.99, True), (1.01, False)):
                reading = centre.copy()
                reading[place] *= 1 + sign * part * times
                assert is_near(reading, centre) == near
    fast = np.array([0.02, 2.0, 2.3])
    assert is_near(fast + np.array([0.99 * STEP_US, 0, 0]), fast)
    assert not is_near(fast + np.array([1.01 * STEP_US, 0, 0]), fast)


def test_more_readings_than_are_tried_as_centres() -> None:
    readings = np.array([CALM, BUSY, FAR])[np.arange(3000) % 3]
    ((mask,),) = common_state([Stretches(np.ones(3000, np.int64), readings)]).chosen
    assert np.flatnonzero(mask).tolist() == list(range(0, 3000, 3))


def test_stretches_are_cut_into_launches() -> None:
    readings = np.arange(12.0).reshape(4, 3)
    first, second = cut_launches([10, 5, 5, 20], readings, (15, 25))
    assert (first.samples.tolist(), second.samples.tolist()) == ([10, 5], [5, 20])
    assert second.readings_us.tolist() == readings[2:].tolist()
    assert first.of_samples(np.array([False, True])).tolist() == [False] * 10 + [True] * 5
    assert [len(each.samples) for each in cut_launches([10], readings[:1], (0, 10, 0))] == [0, 1, 0]


@pytest.mark.parametrize(
    ("stretches", "launches"),
    [([10, 10], (15, 5)), ([10], (10, 10)), ([10, 10], (10,)), ([10], ())],
)
def test_launches_end_where_stretches_do(stretches, launches) -> None:
    with pytest.raises(ValueError, match="stretch"):
        cut_launches(stretches, np.zeros((len(stretches), 3)), launches)
