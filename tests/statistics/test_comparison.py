"""From records to a document, and from a document to the exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from nvrar_bench.documents import checked, encode
from nvrar_bench.documents.comparison import ComparisonDocument
from nvrar_bench.documents.record import RunRecord
from nvrar_bench.documents.result import LaunchShape
from nvrar_bench.errors import NvrarBenchError, Regression, UsageError, WrongResult
from nvrar_bench.statistics.comparison import compare, outcome
from nvrar_bench.statistics.conditions import ONE_LAUNCH
from tests.statistics.records import (
    FAILED,
    LAUNCHES_ALIKE,
    SLOW,
    TOPOLOGY,
    TWICE,
    known,
    record,
    result,
)

GOLDEN = Path(__file__).parents[1] / "documents" / "golden"


def against(base: RunRecord, *news: RunRecord) -> ComparisonDocument:
    """Compare runs of which each has its own id."""
    others = [replace(new, run=replace(new.run, id=f"{i}" * 32)) for i, new in enumerate(news)]
    named = [(f"{i}.json", new) for i, new in enumerate(others)]
    return compare(("a.json", base), named, LAUNCHES_ALIKE, 0)


def error_of(base: RunRecord, *news: RunRecord, allow: bool = False) -> NvrarBenchError | None:
    return outcome(against(base, *news), allow)


def test_every_verdict_is_given() -> None:
    first, second = known().comparisons
    assert [point.verdict for point in first.points] == [
        "slower", "same", "faster", "same", "undecided", "wrong",
    ]  # fmt: skip
    assert first.summary.to_json() == {
        "points": 6, "slower": 1, "faster": 1, "same": 2, "undecided": 1, "wrong": 1, "missing": 2,
    }  # fmt: skip
    assert [(m.size_bytes, m.missing_in) for m in first.missing] == [(8, "new"), (16, "base")]
    assert [point.verdict for point in second.points] == ["undecided"]


def test_the_json_is_known_and_follows_the_schema() -> None:
    text = encode(known())
    assert checked(ComparisonDocument, json.loads(text), "this").to_json() == json.loads(text)
    assert text == (GOLDEN / "comparison.json").read_text(encoding="utf-8")


def test_notes_tell_what_weakens_a_verdict() -> None:
    notes = known().comparisons[0].notes
    assert [note.partition(":")[0] for note in notes] == [
        "new is not complete", "unfinished in new", "wrong in new",
    ]  # fmt: skip
    assert notes[0].endswith("failed")
    assert "at 32K" in notes[1]
    assert "7 of 2048 elements" in notes[2]
    assert "fewer than 6 samples" in known().comparisons[1].notes[-1]


@pytest.mark.parametrize(
    ("base", "new", "said"),
    [
        (TWICE, TWICE, None),
        (TWICE[:1], TWICE, "base"),
        (TWICE, TWICE[:1], "new"),
        (TWICE[:1], TWICE[:1], "base and new"),
    ],
)
def test_one_launch_is_said_once(base: Any, new: Any, said: str | None) -> None:
    runs = [record(result(samples), result(samples, 8)) for samples in (base, new)]
    notes = against(*runs).comparisons[0].notes
    assert notes == (() if said is None else (f"one launch in {said}: {ONE_LAUNCH}",))


def test_another_launch_of_nvrar_is_said() -> None:
    shape = LaunchShape(1, 1, 2048, 2, "doubling", None)
    base = record(result(TWICE, shape=shape), result(TWICE, size=8192, shape=shape))
    tuned = replace(shape, chunk_bytes=4096, tuned_at=8192)
    new = record(result(TWICE, shape=shape), result(TWICE, size=8192, shape=tuned), run_id="b" * 32)
    assert against(base, new).comparisons[0].notes == (
        "NVRAR had other settings at 1 of 2 points: at 8K 1 x 1 threads, chunks of 2K, radix 2 "
        "in base, 1 x 1 threads, chunks of 4K, radix 2 in new",
    )
    assert against(base, base).comparisons[0].notes == ()


def test_all_is_well() -> None:
    assert error_of(record(result(TWICE)), record(result(TWICE))) is None


def test_a_slower_point_is_a_regression_that_names_it() -> None:
    error = error_of(record(result(TWICE)), record(result(TWICE)), record(result(SLOW)))
    assert isinstance(error, Regression)
    assert error.exit_code == 6
    assert str(error) == (
        "1.json: 1 of 1 points slower: nvrar signal at 4K (1024 elements), float32 sum, out of "
        "place, symmetric buffers, cpu x1.200"
    )


def test_a_wrong_result_comes_before_a_slower_point() -> None:
    base = record(result(TWICE))
    wrong, slow = record(result(TWICE, check=FAILED)), record(result(SLOW))
    error = error_of(base, slow, wrong)
    assert isinstance(error, WrongResult)
    assert str(error).startswith("1.json: 1 of 1 points wrong: nvrar signal at 4K")


def test_a_missing_point_comes_before_all_unless_it_is_allowed() -> None:
    base = record(result(TWICE), result(TWICE, 8))
    slow, wrong = record(result(SLOW)), record(result(TWICE, check=FAILED))
    error = error_of(base, slow, wrong)
    assert isinstance(error, UsageError)
    assert "0.json: points are missing: nvrar signal at 8 (2 elements)" in str(error)
    assert "1.json: points are missing" in str(error)
    assert "--allow-missing" in str(error)
    assert isinstance(error_of(base, slow, wrong, allow=True), WrongResult)
    assert isinstance(error_of(base, slow, allow=True), Regression)


def test_a_message_names_five_points_and_counts_the_others() -> None:
    sizes = range(4, 36, 4)
    base, slow = (record(*(result(run, size) for size in sizes)) for run in (TWICE, SLOW))
    text = str(error_of(base, slow))
    assert text.count("nvrar signal at") == 5
    assert text.endswith(", and 3 more")


def test_runs_that_cannot_be_compared_are_all_named_with_all_facts() -> None:
    base = record(result(TWICE))
    four = replace(record(result(TWICE), graph=4), topology=replace(TOPOLOGY, ranks=4))
    other, empty = record(result(TWICE, 8)), record()
    with pytest.raises(UsageError) as refused:
        against(base, base, four, other, empty)
    assert str(refused.value) == (
        "1.json cannot be compared with a.json, these must agree: ranks (2, 4), graph (1, 4); "
        "2.json has no point in common with a.json: the one begins with nvrar signal at 8 (2 "
        "elements), float32 sum, out of place, symmetric buffers, cpu, the other with nvrar signal "
        "at 4K (1024 elements), float32 sum, out of place, symmetric buffers, cpu; "
        "3.json holds no results: its run is complete"
    )


def test_the_seed_moves_intervals_and_nothing_else() -> None:
    noisy = [[10.0 + i * i % 7 for i in range(30)], [10.0 + i * i % 5 for i in range(30)]]
    runs = ("a", record(result(noisy))), [("b", record(result(noisy), run_id="b" * 32))]
    first, again, other = (compare(*runs, LAUNCHES_ALIKE, seed) for seed in (0, 0, 1))
    assert first == again
    (point,), (moved,) = first.comparisons[0].points, other.comparisons[0].points
    assert (point.low, point.high) != (moved.low, moved.high)
    assert (point.ratio, point.base.median_us) == (moved.ratio, moved.base.median_us)


def test_a_points_interval_does_not_depend_on_other_points() -> None:
    noisy = [[10.0 + i * i % 7 for i in range(30)]]
    alone = against(record(result(noisy)), record(result(noisy)))
    among = record(result(TWICE, 8), result(noisy))
    assert against(among, among).comparisons[0].points[1] == alone.comparisons[0].points[0]
