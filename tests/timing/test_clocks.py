"""Clocks of four ranks that are seconds apart and drift, under a real MPI; the tree on its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from nvrar_bench.timing.clocks import _along_a_tree, relate

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
