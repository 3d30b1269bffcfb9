"""Clocks of four ranks that are seconds apart and drift, under a real MPI; the tree on its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvrar_bench.timing.clocks import MAX_DRIFT, MOMENTS, ClockLine, Moment, _along_a_tree, relate

WORKER = Path(__file__).parent / "worker_clocks.py"
TRUE_OFFSETS_US = {
    "machines": (0, 10.5e6, -8e6, 2.75e6),
    "pairs": (0, 0, 10.5e6, 10.5e6),
    "namespace": (0, 0, -8e6, 0),
}


@pytest.fixture(scope="module")
def report():
    """What the worker found, run once."""
    return {}


@pytest.fixture
def seen(report, run_ranks):
    if not report:
        done = run_ranks(4, WORKER)
        assert done.code == 0, done.stderr[-4000:]
        report.update(done.record())
    return report


def test_the_ranks_of_a_machine_share_a_clock_and_that_is_verified(seen):
    assert seen["machine"]["same"] == [True] * 4
    assert seen["machine"]["facts"] == {
        "method": "shared clock, verified",
        "offset_us": [0.0] * 4,
        "drift_ppm": [0.0] * 4,
        "error_us": [0.0] * 4,
    }


@pytest.mark.parametrize("case", ["machines", "pairs", "namespace"])
@pytest.mark.parametrize("when", ["first", "renewed"])
def test_no_conversion_is_more_wrong_than_is_said(seen, case, when):
    assert [rank["beyond"] <= 0 for rank in seen[case][when]] == [True] * 4, seen[case][when]
    # The bound says something: the clocks are seconds apart.
    assert all(rank["said"] < 0.2e9 for rank in seen[case][when])
    assert seen[case][when][0]["said"] == 0


@pytest.mark.parametrize("case", ["machines", "pairs", "namespace"])
def test_the_facts_name_offsets_of_all_ranks(seen, case):
    facts, ranks = seen[case]["facts"], range(4)
    for rank in ranks:
        off = abs(facts["offset_us"][rank] - TRUE_OFFSETS_US[case][rank])
        assert off <= facts["error_us"][rank] + 1e3  # drift since they were set
    assert facts["error_us"][0] == facts["drift_ppm"][0] == 0


def test_one_clock_of_a_machine_is_told_to_all_its_ranks(seen):
    assert seen["pairs"]["shared"] == [True] * 4
    _, _, third, fourth = seen["pairs"]["facts"]["drift_ppm"]
    assert third == fourth != 0
    assert seen["pairs"]["facts"]["method"].startswith("shared clock, verified; between machines")


def test_a_time_namespace_is_noticed_and_its_offset_used(seen):
    assert seen["namespace"]["shared"] == [True, True, False, True]
    assert seen["namespace"]["facts"]["method"] == "own clocks within a machine"
    assert seen["namespace"]["facts"]["drift_ppm"] == [0.0] * 4


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 1000])
def test_everyone_learns_once_from_one_who_knows_in_log2_rounds(size):
    ranks = [3 * place for place in range(size)]
    told: dict[int, list[int]] = {}
    learnt: dict[int, list[int]] = {}
    for rank in ranks:
        told[rank], learnt[rank] = [], []
        _along_a_tree(ranks, rank, told[rank].append, learnt[rank].append)
    assert learnt[0] == []
    for rank in ranks[1:]:
        (teacher,) = learnt[rank]
        assert rank in told[teacher]
        assert teacher < rank
    assert max(map(len, told.values())) == (size - 1).bit_length()
    assert sum(map(len, told.values())) == size - 1


def test_one_rank_needs_no_messages(alone):
    clocks = relate(alone.comm, alone.machine_of)
    clocks.renew()
    assert clocks.error_ns == 0
    assert clocks.to_own(12) == 12
    assert clocks.facts()["method"] == "shared clock, verified"


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
