"""The table, against golden files, and what may never happen to it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO, StringIO, TextIOWrapper

import pytest
from rich.console import Console

from nvrar_bench.report import table
from nvrar_bench.results.record import ErrorEntry, RunRecord, Skipped, State

from .golden_files import full, matches


def empty() -> RunRecord:
    return replace(full(), results=(), errors=(), environment={})


def single() -> RunRecord:
    """One backend: nothing to compare with, nothing to complain about."""
    record = full()
    results = tuple(r for r in record.results if r.backend == "mpi" and r.dtype == "float32")
    run = replace(record.run, status="complete")
    shape = replace(record.topology, virtual_nodes=False)
    return replace(record, run=run, topology=shape, results=results, skipped=(), errors=())


def piped(record: RunRecord, width: int = 80) -> str:
    file = StringIO()
    table.write(record, Console(file=file, width=width, _environ={}))
    return file.getvalue()


def on_terminal(record: RunRecord, width: int = 200) -> str:
    file = StringIO()
    console = Console(
        file=file,
        width=width,
        force_terminal=True,
        color_system="standard",
        legacy_windows=False,
        _environ={},
    )
    table.write(record, console)
    return file.getvalue()


def without_colour(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize("record", [full, empty, single], ids=["full", "empty", "single"])
def test_piped_output(record: Callable[[], RunRecord]) -> None:
    assert matches(f"{record.__name__}.piped.txt", piped(record()))


@pytest.mark.parametrize("record", [full, single], ids=["full", "single"])
def test_terminal_output(record: Callable[[], RunRecord]) -> None:
    assert matches(f"{record.__name__}.terminal.txt", on_terminal(record()))


def test_piped_output_does_not_depend_on_the_width() -> None:
    assert piped(full(), width=20) == piped(full(), width=500)


def test_piped_lines_are_comments_or_rows_with_equal_columns() -> None:
    rows = [line.split() for line in piped(single()).splitlines() if not line.startswith("#")]
    assert [row[:3] for row in rows] == [
        ["128K", "32768", "18.98"],
        ["1M", "262144", "150.0"],
        ["2M", "524288", "330.9"],
    ]
    assert {len(row) for row in rows} == {7}


def test_piped_output_has_no_escape_and_no_box() -> None:
    text = piped(full())
    assert "\x1b" not in text
    assert not re.search("[\u2500-\u257f…]", text)


def test_a_screen_narrower_than_the_table_gets_one_line_per_backend() -> None:
    assert matches("full.narrow.txt", on_terminal(full(), width=100))


def test_a_tiny_screen_loses_no_digit() -> None:
    text = without_colour(on_terminal(single(), width=40))
    assert "…" not in text
    wide = without_colour(on_terminal(single(), width=80))
    assert [text.count(digit) for digit in "0123456789"] == [
        wide.count(digit) for digit in "0123456789"
    ]


def test_an_output_that_knows_ascii_alone_gets_ascii() -> None:
    content = BytesIO()
    file = TextIOWrapper(content, encoding="ascii")
    record = full().with_skipped("nccl", "naïve")
    table.write(record, Console(file=file, _environ={}))
    file.flush()
    assert b"median us" in content.getvalue()
    assert b"na?ve" in content.getvalue()


def test_what_others_wrote_cannot_move_the_cursor_or_add_a_line() -> None:
    nasty = "a\x1b[2Jb\nc\rd\u2028e\ud800f"
    errors, skipped = (ErrorEntry("E", nasty),), (Skipped("x", nasty),)
    record = replace(full(), skipped=skipped, errors=errors, environment={"cpu": nasty})
    for text in (piped(record), without_colour(on_terminal(record))):
        assert text.count("a?[2Jb c d e?f") == 3
        assert "\x1b" not in text
        assert "\r" not in text


def test_the_name_of_a_series_is_text_too() -> None:
    record = two(full())
    other, this = record.results
    record = replace(record, results=(replace(other, backend="[b]x\n\x1b", variant="é"), this))
    assert "[b]x?? ?" in piped(record)
    assert "[b]x?? ?" in without_colour(on_terminal(record))


def test_brackets_are_text_and_not_markup() -> None:
    assert "pip install nvrar-bench[cuda13]" in piped(full())
    assert "pip install nvrar-bench[cuda13]" in on_terminal(full())


def speed_ups(record: RunRecord) -> list[str]:
    rows = [line.split() for line in piped(record).splitlines() if not line.startswith("#")]
    return [row[-1] for row in rows]


def two(record: RunRecord) -> RunRecord:
    """Keep mpi and nvrar signal, each once, at one size."""
    return replace(record, results=record.results[:2])


def test_the_speed_up_is_the_other_median_over_this() -> None:
    assert speed_ups(two(full())) == ["7.50x"]


@pytest.mark.parametrize("which", [0, 1])
def test_there_is_no_speed_up_where_a_result_is_wrong(which: int) -> None:
    record = two(full())
    results = list(record.results)
    check = replace(results[which].check, status="failed", wrong=1)
    results[which] = replace(results[which], check=check)
    assert speed_ups(replace(record, results=tuple(results))) == ["-"]


@pytest.mark.parametrize(
    ("mine", "others", "said"),
    [
        ((0.1, 2.0, 3.0), (0.1, 2.0, 3.1), "7.50x"),
        ((0.1, 2.0, 3.0), (0.1, 2.0, 3.4), "-"),
        ((0.1, 2.0, 3.4), (0.1, 2.0, 3.0), "-"),
        ((0.1, 2.0, 3.0), (None, None, None), "7.50x"),
    ],
)
def test_there_is_no_speed_up_across_states_of_the_machine(mine, others, said) -> None:
    record = two(full())
    other, this = record.results
    results = (replace(other, state=State(*others, 0)), replace(this, state=State(*mine, 0)))
    assert speed_ups(replace(record, results=results)) == [said]


def test_samples_of_another_state_are_counted_below_the_table() -> None:
    record = two(full())
    results = tuple(replace(r, state=replace(r.state, left_out=2)) for r in record.results)
    said = (
        "# state: 4 of 6 samples, which found the machine in another state, are not in the medians"
    )
    assert said in piped(replace(record, results=results)).splitlines()
    assert "state:" not in piped(record)


@pytest.mark.parametrize(("count", "more"), [(3, None), (4, 1), (9, 6)])
def test_of_many_warnings_with_the_same_advice_the_first_ones_are_shown(count, more) -> None:
    record = two(full())
    texts = tuple(f"off by {i} %; repeat it" for i in range(count))
    results = tuple(replace(r, warnings=texts) for r in record.results)
    lines = piped(replace(record, results=results)).splitlines()
    shown = [line for line in lines if line.startswith("# warning: ")]
    assert shown[:3] == [f"# warning: {text}" for text in texts[:3]]
    assert shown[3:] == ([f"# warning: {more} more such, in the record: repeat it"] if more else [])


def test_there_is_no_speed_up_over_no_time() -> None:
    record = two(full())
    other, this = record.results
    none = replace(this, latency_us=replace(this.latency_us, median=0.0))
    assert speed_ups(replace(record, results=(other, none))) == ["-"]


def test_the_reference_is_the_first_other_backend_also_when_it_comes_later() -> None:
    record = two(full())
    assert "speed-up vs mpi" in piped(replace(record, results=record.results[::-1]))


def test_the_same_point_measured_twice_is_two_rows() -> None:
    record = two(full())
    twice = replace(record, results=record.results + record.results[1:])
    assert speed_ups(twice) == ["7.50x", "-"]


def test_buffers_of_another_kind_are_another_table() -> None:
    record = two(full())
    private = tuple(replace(result, buffers="private") for result in record.results)
    text = piped(replace(record, results=record.results + private))
    assert "# float32 sum, out of place, symmetric buffers\n" in text
    assert "# float32 sum, out of place, private buffers\n" in text


def test_a_heading_longer_than_its_columns_stays_above_them() -> None:
    record = single()
    label = "m" * 70
    results = tuple(replace(result, backend=label) for result in record.results)
    lines = piped(replace(record, results=results)).splitlines()
    heading = next(line for line in lines if label in line)
    rows = [line for line in lines if not line.startswith("#")]
    assert {len(row) for row in rows} == {len(heading)}


def test_a_warning_of_all_results_is_said_once_and_of_some_with_its_series() -> None:
    record = full()
    everywhere = replace(
        record,
        results=tuple(replace(r, warnings=("4 ranks share 2 cores",)) for r in record.results),
    )
    assert piped(everywhere).count("4 ranks share 2 cores") == 1
    assert "# warning: 4 ranks share 2 cores" in piped(everywhere)
    first = everywhere.results[0]
    some = replace(record, results=(first, *record.results[1:]))
    assert f"warning: {first.backend}" in piped(some)
