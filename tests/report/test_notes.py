"""The few lines below a table."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from nvrar_bench.report import table
from nvrar_bench.report.notes import MOST, notes
from nvrar_bench.results.record import Arrival, RunRecord, Skipped
from nvrar_bench.statistics.doubts import of_time
from nvrar_bench.timing.ruler import Ruler

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


FOLLOWS = (
    "statistics: samples follow each other: these {} tell as much of the median as {} independent "
    "ones, too few for a 95 % interval to hold; raise --iters to {}, or ask for a --precision"
)


def test_many_warnings_of_a_kind_are_one_note_with_the_most_that_is_advised() -> None:
    texts = [(FOLLOWS.format(60, n, iters),) for n, iters in ((9, 340), (7, 1200), (12, 250))]
    assert notes(record(*texts, *texts)) == [
        "note: samples follow each other, ±95% is too narrow; use --iters 1200"
    ]


def test_samples_that_are_alike_are_no_note_where_they_tell_enough() -> None:
    assert notes(record((FOLLOWS.format(60, 25, 130),), ())) == []
    assert notes(record((FOLLOWS.format(60, 24, 130),), ())) != []


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
    texts = [ruler.doubts(us * 1e-6) for us in (10, 20)]
    assert len(texts[0]) == 2
    assert notes(record(*texts)) == [
        "note: timing is up to 30 % of these times; take more calls a sample (--batch)"
    ]


def test_that_each_call_was_timed_alone_is_said_once() -> None:
    ruler = Ruler(1.0, 1.0, 1.0, 2000.0, 2780.0)
    texts = [ruler.doubts(us * 1e-6, by_events=True) for us in (10, 20)]
    assert notes(record(*texts)) == [
        "note: two events around each call are 2.78 us of each time; share them with --batch"
    ]


def test_late_samples_are_no_note_until_they_are_the_most() -> None:
    def doubts(late: int) -> tuple[str, ...]:
        in_time = np.arange(100) >= late
        return tuple(f"statistics: {text}" for text in of_time([100], in_time))

    assert doubts(50) == ()
    assert notes(record(doubts(51), ())) == [
        "note: mpi: most samples began late; stop other work, or use --start barrier"
    ]


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
