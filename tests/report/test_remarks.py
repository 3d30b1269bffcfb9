"""The few lines below a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from io import StringIO
from string import Formatter

import numpy as np
import pytest
from msgspec.structs import replace
from rich.console import Console

from nvrar_bench.documents.record import RunRecord, Skipped
from nvrar_bench.documents.result import Arrival
from nvrar_bench.report import table
from nvrar_bench.report.remarks import MOST, notes
from nvrar_bench.run.starts import Ruler
from nvrar_bench.statistics.doubts import KINDS, doubts, of_time
from nvrar_bench.statistics.median import Estimate
from nvrar_bench.statistics.points import Launch

from .golden_files import full


def record(*warned: tuple[str, ...]) -> RunRecord:
    """Results of mpi and then of nvrar at 1K, 2K, 4K, ...; half of the `warned` are of each."""
    one = full().results[0]
    half = len(warned) // 2
    results = [
        replace(one, backend=backend, variant=variant, size_bytes=1024 << i, warnings=texts)
        for backend, variant, of in (
            ("mpi", "staged", warned[:half]), ("nvrar", "signal", warned[half:]),
        )
        for i, texts in enumerate(of)
    ]  # fmt: skip
    run = replace(full().run, status="complete")
    return replace(full(), run=run, results=tuple(results), skipped=(), errors=())


def noted(*said: Iterable[str]) -> list[str]:
    """The notes of what is said of results as those of `record`."""
    found = notes(record(*map(tuple, said)))
    return [text.removeprefix("note: ") for text in found if text.startswith("note: ")]


def follow(effective: float, count: int = 60) -> list[str]:
    """The doubts about a launch of `count` samples worth `effective`."""
    samples = np.random.default_rng(1).normal(100, 1, count)
    launch = dataclasses.replace(
        Launch.of(samples), effective=effective, startup=None, slow=None, unsteady=0.0
    )
    return list(doubts([launch], [0], Estimate(1.0, None, None), None, None, None))


def test_every_kind_reads_what_it_writes() -> None:
    for kind in KINDS:
        numbers = {name: "12 %" for _, name, _, _ in Formatter().parse(kind.text) if name}
        words = {"effective": "12", "taken": "12", "what": "samples"}
        numbers |= {name: words[name] for name in numbers.keys() & words.keys()}
        warning = kind(**numbers)
        assert [one for one in KINDS if one.read(warning) is not None] == [kind]
        assert numbers.items() >= dict(kind.read(warning)).items()


def test_somebody_elses_words_are_noted_as_they_are() -> None:
    (calm,) = of_time([10], range(10))
    strange = calm.replace("10", "ten")
    assert noted([strange], []) == [f"mpi: {strange}"]


def test_many_doubts_of_a_kind_are_one_note_with_the_most_that_is_advised() -> None:
    said = [follow(effective) for effective in (9, 2.5, 12)]
    assert noted(*said, *said) == [
        "samples are correlated, so ±95% is too narrow; use --iters 1200"
    ]


def test_samples_that_are_alike_are_no_note_where_they_tell_enough() -> None:
    (doubt,) = follow(24.6)
    assert "are worth 25 independent ones" in doubt
    assert noted([doubt], []) == []
    assert noted(follow(24.4), []) != []


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("xxx ...", "mpi: "),
        ("... .x.", "nvrar 2K: "),
        ("xx.x ....", "mpi 1K 2K 8K: "),
        ("xxx. ..x.", "mpi 1K-4K, nvrar 4K: "),
        ("x.x.x.x. x.x.x.x.", "8 of 16 points: "),
        ("xxx xxx", ""),
    ],
)
def test_a_note_names_its_points(where: str, said: str) -> None:
    marks = where.replace(" ", "")
    warned = [("4 ranks share 2 cores",) if mark == "x" else () for mark in marks]
    assert notes(record(*warned)) == [f"note: {said}4 ranks share 2 cores"]


def test_of_what_timing_costs_the_largest_part_is_said_once() -> None:
    ruler = Ruler(2000.0, 1.0, 3000.0)
    said = [ruler.doubts(us * 1e-6) for us in (10, 20)]
    assert len(said[0]) == 2
    assert noted(*said) == [
        "measuring itself takes up to 30 % of these times; use --batch 10 or more"
    ]


def test_that_each_call_was_timed_alone_is_said_once() -> None:
    ruler = Ruler(1.0, 1.0, 1.0, 2000.0, 2780.0)
    said = [ruler.doubts(us * 1e-6, by_events=True) for us in (10, 20)]
    assert noted(*said) == [
        "two events around each call are 2.78 us of each time; share them with --batch"
    ]


def test_late_samples_are_no_note_until_they_are_the_most() -> None:
    def late(count: int) -> list[str]:
        return list(of_time([100], range(count)))

    assert late(50) == []
    assert noted(late(51), []) == [
        "mpi: most samples began late; stop other work, or use --start barrier"
    ]


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        ("ruler: the resolution of the clock, 2 us, is 90 % of the median of 2.2 us: measure "
         "longer messages, or take several calls per sample",
         "measuring itself takes up to 90 % of these times; use --batch 10 or more"),
        ("ruler: each call was timed alone, and 2.78 us of every figure are the two events around "
         "it: take several calls per sample",
         "two events around each call are 2.78 us of each time; share them with --batch"),
        ("ruler: in words of a version to come", "ruler: in words of a version to come"),
    ],
)  # fmt: skip
def test_what_timing_costs_is_noted_whatever_older_versions_advised(stored: str, said: str) -> None:
    assert noted([stored], []) == [f"mpi: {said}"]


def test_there_are_never_more_lines_than_that_and_the_worst_stay() -> None:
    crowded = replace(
        record(*[(f"{'abcdefghi'[i]} is odd",) for i in range(8)]),
        skipped=(Skipped("nccl", "not installed"),), errors=full().errors,
    )  # fmt: skip
    found = notes(crowded)
    assert len(found) == MOST
    assert found[0] == "note: 5 more: --verbose"
    assert found[-2:] == ["skipped: nccl: not installed", f"error: {said(full())}"]


def said(run: RunRecord) -> str:
    return f"{run.errors[0].type}: {run.errors[0].message}"


def test_verbose_shows_all_that_the_record_knows() -> None:
    run = record(*[(f"statistics: oddity {i}",) for i in range(10)])
    late = replace(run.results[0], arrivals=(Arrival(0, 1, 0.5, 2.0),))
    file = StringIO()
    console = Console(file=file, _environ={})
    table.write(replace(run, results=(late, *run.results[1:])), console, verbose=True)
    assert all(f"statistics: oddity {i}" in file.getvalue() for i in range(10))
    assert "last to arrive: rank 1, 0.50 us behind" in file.getvalue()
