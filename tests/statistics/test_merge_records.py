"""Merging: no sample is lost or moved, counts add up, and the order of merging does not matter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from documents.samples import TOPOLOGY, begin
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from nvrar_bench.documents.record import ErrorEntry, RankPlace, RunRecord, Skipped
from nvrar_bench.documents.result import (
    Arrival,
    Check,
    FirstWrong,
    LaunchShape,
    Result,
    State,
    Stretch,
)
from nvrar_bench.errors import UsageError
from nvrar_bench.statistics.figures import DOUBT, make_result
from nvrar_bench.statistics.merge import LAUNCHES, merge

TUNED = LaunchShape(2, 1, 64, 2, "doubling", None)
PASSED = Check("passed", "exact", 2048, 0, None, timed=True)
FAILED = Check("failed", "exact", 2048, 7, FirstWrong(1, 3, 1.5, "nan"), timed=True)
UNCHECKED = Check("skipped", None, 0, 0, None, timed=True)


def result(*samples_us: float, size: int = 4096, **changed: Any) -> Result:
    facts: dict[str, Any] = {
        "backend": "fake", "variant": "", "device": "cpu", "buffers": "symmetric",
        "dtype": "float32", "op": "sum", "placement": "out_of_place", "size_bytes": size,
        "count": size // 4, "warmup": 5, "stop_reason": "iterations", "check": PASSED,
        "arrivals": (), "warnings": (), "late": (), "target": None,
        "launch_samples": (len(samples_us),),
    }  # fmt: skip
    return make_result(ranks=2, samples_us=samples_us, **facts | changed)


def record(*results: Result, **changed: Any) -> RunRecord:
    """A record that ended at a time of its own, complete unless `changed` says otherwise."""
    made = replace(begin(seed=3, iters=5), results=results).finished("complete")
    return replace(made, **changed)


def test_each_launch_keeps_its_stretches() -> None:
    calm, busy = Stretch(2, 0.1, 2.0, 3.0), Stretch(1, 0.1, 2.0, 4.0)
    one = record(result(1.0, 2.0, 3.0, stretches=(calm, busy)))
    other = record(result(4.0, 5.0))  # of a gate that has none
    (merged,) = merge([one, other, record(result(6.0, stretches=(busy,)))]).results
    assert merged.stretches == (calm, busy, Stretch(2, None, None, None), busy)
    assert (merged.state, merged.latency_us.median) == (State(None, None, None, 0), 4.5)


def test_the_figure_is_of_the_state_that_launches_have_in_common() -> None:
    """Of three launches two were in the fast state, and the slow one's other half is left out."""
    calm, busy = Stretch(20, 0.1, 2.0, 3.0), Stretch(20, 0.1, 2.0, 4.0)
    asked = {"settings": {"one_state": True}}
    one = record(result(*[1.0] * 20, *[9.0] * 20, stretches=(calm, busy)), **asked)
    other = record(result(*[2.0] * 20, *[9.0] * 20, late=(1,), stretches=(calm, busy)), **asked)
    slow = record(result(*[9.0] * 40, stretches=(busy, busy)), **asked)
    (merged,) = merge([one, other, slow]).results
    assert (merged.latency_us.median, merged.latency_us.max) == (1.5, 9.0)
    assert merged.launches.medians_us == (1.0, 2.0)
    assert merged.state == State(0.1, 2.0, 3.0, 80)
    assert "launch 2 found the machine at another speed than most" in "".join(merged.warnings)


times = st.lists(st.integers(1, 50).map(float), min_size=1, max_size=7)
few_words = st.lists(st.sampled_from(["a", "b", "c"]), max_size=2, unique=True).map(tuple)


@st.composite
def results(draw: Any) -> Result:
    samples = draw(times)
    late = draw(st.sets(st.integers(0, len(samples) - 1), max_size=len(samples) - 1))
    ranks = draw(st.sets(st.integers(0, 1)))
    return result(
        *samples,
        size=draw(st.sampled_from([4, 8])),
        late=tuple(sorted(late)),
        arrivals=tuple(Arrival(0, rank, samples[0], samples[-1]) for rank in sorted(ranks)),
        stop_reason=draw(st.sampled_from(["iterations", "max_time", "unfinished"])),
        check=draw(st.sampled_from([PASSED, FAILED, UNCHECKED])),
        warnings=draw(few_words),
    )


@st.composite
def records(draw: Any) -> RunRecord:
    facts = st.dictionaries(st.sampled_from(["cpu", "host"]), st.sampled_from([None, "a", "b"]))
    made = record(*draw(st.lists(results(), max_size=4)), environment=draw(facts))
    return replace(
        made,
        run=replace(
            made.run,
            id=uuid4().hex,
            status=draw(st.sampled_from(["complete", "failed", "interrupted"])),
            finished_at=draw(st.sampled_from([None, made.run.finished_at])),
        ),
        settings={**made.settings, "seed": draw(st.integers(0, 2))},
        topology=draw(st.sampled_from([TOPOLOGY, _elsewhere(made)])),
        skipped=tuple(Skipped(text, "no") for text in draw(few_words)),
        errors=tuple(ErrorEntry("TimedOut", text) for text in draw(few_words)),
    )


def _elsewhere(made: RunRecord) -> Any:
    places = tuple(replace(place, host="other") for place in made.topology.placement)
    return replace(made.topology, placement=places)


def without_id(made: RunRecord) -> RunRecord:
    return replace(made, run=replace(made.run, id=""))


@given(records(), records(), records())
def test_it_does_not_matter_in_which_order_records_are_merged(
    a: RunRecord, b: RunRecord, c: RunRecord
) -> None:
    at_once = without_id(merge([a, b, c]))
    assert without_id(merge([merge([a, b]), c])) == at_once
    assert without_id(merge([a, merge([b, c])])) == at_once
    assert without_id(merge([at_once])) == at_once
    assert RunRecord.from_json(at_once.to_json()) == at_once


def kept(one: Result) -> list[float]:
    return [us for i, us in enumerate(one.samples_us) if i not in one.late]


@given(st.lists(records(), min_size=1, max_size=4))
def test_nothing_is_lost_and_nothing_moves(parts: list[RunRecord]) -> None:
    merged = merge(parts)
    places = {(one.size_bytes, one.check.status) for part in parts for one in part.results}
    assert {size for size, _ in places} == {one.size_bytes for one in merged.results}
    for size in (4, 8):
        before = [[one for one in part.results if one.size_bytes == size] for part in parts]
        after = [one for one in merged.results if one.size_bytes == size]
        assert len(after) == max(map(len, before))
        for k, one in enumerate(after):
            _require_all([part[k] for part in before if len(part) > k], one, len(parts))


def _require_all(parts: list[Result], one: Result, launches: int) -> None:
    assert list(one.samples_us) == [us for part in parts for us in part.samples_us]
    assert one.samples == len(one.samples_us) == sum(one.launch_samples)
    assert one.launch_samples == tuple(part.samples for part in parts)
    assert kept(one) == [us for part in parts for us in kept(part)]
    assert one.launches.count == len(parts)
    assert [(a.launch, a.rank, a.max_us) for a in one.arrivals] == [
        (i, a.rank, a.max_us) for i, part in enumerate(parts) for a in part.arrivals
    ]
    assert one.check.elements == sum(part.check.elements for part in parts)
    assert one.check.wrong == sum(part.check.wrong for part in parts)
    assert (one.check.status == "failed") == any(part.check.status == "failed" for part in parts)
    assert set(one.stop_reason.split(", ")) == {part.stop_reason for part in parts}
    told = [text for text in one.warnings if text.startswith(LAUNCHES)]
    assert told == ([f"{LAUNCHES}{len(parts)} of {launches} have this result"]
                    if len(parts) < launches else [])  # fmt: skip


def test_the_run() -> None:
    first, second = record(result(2.0)), record(result(3.0))
    merged = merge([first, second])
    assert merged.run == replace(first.run, id=merged.run.id, finished_at=second.run.finished_at)
    assert merged.run.id not in (first.run.id, second.run.id)
    assert merged.settings == {**first.settings, "launches": 2}
    assert (merged.results[0].samples_us, merged.results[0].latency_us.median) == ((2.0, 3.0), 2.5)


def test_old_doubts_about_the_samples_are_dropped() -> None:
    old = replace(result(2.0), warnings=(DOUBT + "old", "kept"))
    assert DOUBT + "old" not in merge([record(old), record(result(3.0))]).results[0].warnings
    assert "kept" in merge([record(old), record(result(3.0))]).results[0].warnings


@pytest.mark.parametrize(
    ("statuses", "status"),
    [
        (["complete", "complete"], "complete"),
        (["complete", "interrupted"], "interrupted"),
        (["failed", "interrupted"], "failed"),
        (["failed", "complete"], "failed"),
    ],
)
def test_complete_only_if_all_are(statuses: list[Any], status: str) -> None:
    parts = [replace(one, run=replace(one.run, status=each))
             for each in statuses for one in [record()]]  # fmt: skip
    assert merge(parts).run.status == status


def test_a_run_that_was_killed_has_no_end_but_the_merged_one_has() -> None:
    killed = begin(seed=3, iters=5)
    assert merge([killed]).run.finished_at == killed.run.started_at


def test_facts_that_differ_keep_their_key_and_are_listed_per_launch() -> None:
    parts = [record(environment=facts) for facts in (
        {"cpu": "a CPU", "cores": 2, "gpu": None},
        {"cpu": "a CPU", "cores": 4},
        {"cpu": "a CPU", "cores": 4, "extra": "x"},
    )]  # fmt: skip
    facts = merge(parts).environment
    assert {key: facts[key] for key in facts if key != "launches"} == {
        "cpu": "a CPU", "cores": 2, "gpu": None, "extra": "x",
    }  # fmt: skip
    assert [each["id"] for each in facts["launches"]] == [part.run.id for part in parts]
    assert [each["cores"] for each in facts["launches"]] == [2, 4, 4]
    assert [each["extra"] for each in facts["launches"]] == [None, None, "x"]
    assert not {"cpu", "gpu", "hosts"} & facts["launches"][0].keys()


def test_hosts_may_differ_and_are_told() -> None:
    here = record()
    merged = merge([here, record(topology=_elsewhere(here))])
    assert merged.topology == TOPOLOGY
    assert [each["hosts"] for each in merged.environment["launches"]] == [
        ["box", "box"],
        ["other", "other"],
    ]


def test_errors_say_of_which_launch_they_are() -> None:
    bad = record().with_error(ValueError("too late"))
    once = merge([record(), bad])
    assert [error.message for error in once.errors] == ["launch 2: too late"]
    again = merge([record(), once, replace(bad, run=replace(bad.run, id="other"))])
    assert [error.message for error in again.errors] == ["launch 3: too late", "launch 4: too late"]


# What differs, and what the message says of it.
DIFFERENT: list[tuple[Callable[[RunRecord], RunRecord], str]] = [
    (lambda one: replace(one, run=replace(one.run, version="9")), "run.version is 9 in b.json and"),
    (lambda one: replace(one, topology=replace(TOPOLOGY, ranks=4)), "topology.ranks is 4 in b"),
    (lambda one: replace(one, topology=replace(TOPOLOGY, nodes=1)), "topology.nodes is 1 in b"),
    (
        lambda one: replace(one, topology=replace(TOPOLOGY, placement=(
            RankPlace(0, "box", 1, 0, "cpu"), RankPlace(1, "box", 0, 0, None),
        ))),
        "topology.placement",
    ),
    (lambda one: replace(one, settings={**one.settings, "iters": 6}), "settings.iters is 6 in b"),
    (lambda one: replace(one, settings={"seed": 3}), "settings.iters is absent in b.json and 5"),
    (lambda one: replace(one, environment={"mpi_library": "X"}), "environment.mpi_library is X in"),
    (
        lambda one: replace(one, results=(result(1.0, warmup=6),)),
        "warmup of fake at 4096 bytes is 6 in b.json and 5 in a.json",
    ),
    (lambda one: replace(one, results=(result(1.0, target=0.1),)), "precision.target of fake"),
    (
        lambda one: replace(one, results=(replace(result(1.0), shape=TUNED),)),
        "shape of fake at 4096 bytes is LaunchShape(blocks=2, ",
    ),
    (
        lambda one: replace(one, results=(replace(result(1.0), samples_us=(), launch_samples=()),),
                            environment={"launches": []}),
        "environment.launches is no list of launches",
    ),
    (lambda one: replace(one, environment={"launches": [{"id": 3}]}), "environment.launches is no"),
    (lambda one: replace(one, environment={"launches": "x"}), "environment.launches is no list"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), DIFFERENT, ids=[row[1] for row in DIFFERENT])
def test_what_does_not_belong_together_is_refused(
    change: Callable[[RunRecord], RunRecord], message: str
) -> None:
    first = record(result(1.0), environment={"mpi_library": "M"})
    second = record(result(1.0), environment={"mpi_library": "M"})
    merge([first, second])
    with pytest.raises(UsageError) as told:
        merge([first, change(second)], ["a.json", "b.json"])
    assert message in str(told.value)
    assert "b.json" in str(told.value)


def test_a_result_that_has_no_figures_is_refused_by_name() -> None:
    timeless = replace(result(1.0), samples_us=(0.0,))
    with pytest.raises(UsageError, match=r"^a\.json: fake at 4096 bytes: "):
        merge([record(timeless)], ["a.json"])


@pytest.mark.parametrize("again", [lambda a, b: [a, a], lambda a, b: [merge([a, b]), b]])
def test_the_same_run_twice_is_refused(again: Callable[..., list[RunRecord]]) -> None:
    parts = again(record(), record())
    with pytest.raises(UsageError, match=r"record 2 cannot be merged with record 1: both hold"):
        merge(parts)


def test_nothing_to_merge() -> None:
    with pytest.raises(UsageError, match="no record"):
        merge([])
