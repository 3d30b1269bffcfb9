"""The table, against golden files, and what may never happen to it."""

from __future__ import annotations

import re
from collections.abc import Callable
from io import BytesIO, StringIO, TextIOWrapper

import pytest
from msgspec.structs import replace
from rich.console import Console

from nvrar_bench.documents.record import ErrorEntry, RunRecord, Skipped
from nvrar_bench.documents.result import Latency, Result, State
from nvrar_bench.report import table

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
    assert [row[:4] for row in rows] == [
        ["128K", "32768", "18.98", "±5%"],
        ["1M", "262144", "150.0", "±5%"],
        ["2M", "524288", "330.9", "±127%"],
    ]
    assert {len(row) for row in rows} == {7}


def test_piped_output_has_no_escape_and_no_box() -> None:
    text = piped(full())
    assert "\x1b" not in text
    assert not re.search("[\u2500-\u257f…]", text)


def test_a_screen_narrower_than_the_table_gets_one_line_per_backend() -> None:
    assert matches("full.narrow.txt", on_terminal(full(), width=60))


def test_a_tiny_screen_loses_no_digit() -> None:
    def data(width: int) -> str:
        text = without_colour(on_terminal(single(), width=width))
        return "".join(line for line in text.splitlines(keepends=True) if line[:1] != "#")

    assert "…" not in data(20)
    wide, tiny = data(46).split(), data(20).split()
    assert [cell for cell in tiny if cell != "mpi"] == wide


def test_an_output_that_knows_ascii_alone_gets_ascii() -> None:
    content = BytesIO()
    file = TextIOWrapper(content, encoding="ascii")
    record = full().with_skipped("nccl", "naïve")
    table.write(record, Console(file=file, _environ={}))
    file.flush()
    assert b"us +-95%" in content.getvalue()
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


def speed_ups(record: RunRecord) -> list[tuple[str, str]]:
    """The ratio and how sure it is, of each row."""
    rows = [line.split() for line in piped(record).splitlines() if not line.startswith("#")]
    return [(row[-3], row[-2]) for row in rows]


def two(record: RunRecord) -> RunRecord:
    """Keep mpi and nvrar signal, each once, at one size."""
    return replace(record, results=record.results[:2])


def test_the_speed_up_is_the_other_median_over_this_with_its_interval() -> None:
    assert speed_ups(two(full())) == [("7.50x", "±7%")]


@pytest.mark.parametrize("which", [0, 1])
def test_there_is_no_speed_up_where_a_result_is_wrong(which: int) -> None:
    record = two(full())
    results = list(record.results)
    check = replace(results[which].check, status="failed", wrong=1)
    results[which] = replace(results[which], check=check)
    assert speed_ups(replace(record, results=tuple(results))) == [("-", "-")]


def test_there_is_a_speed_up_across_states_of_the_machine() -> None:
    record = two(full())
    other, this = record.results
    results = (
        replace(other, state=State(0.1, 2.0, 3.0, 0)), replace(this, state=State(9.0, 9.0, 9.0, 0))
    )  # fmt: skip
    assert speed_ups(replace(record, results=results)) == [("7.50x", "±7%")]


def test_a_speed_up_of_too_few_samples_has_no_interval() -> None:
    record = two(full())
    other, this = record.results
    few = replace(this, latency_us=replace(this.latency_us, ci95_low=None, ci95_high=None))
    assert speed_ups(replace(record, results=(other, few))) == [("7.50x", "±?")]


def test_samples_that_are_left_out_are_counted_above_the_table() -> None:
    record = two(full())
    results = tuple(
        replace(r, late=(0,), state=replace(r.state, left_out=2)) for r in record.results
    )
    said = (
        "# samples: 3 per point; not counted: 2 of 6 began late, "
        "4 of 6 found the machine at another speed"
    )
    assert said in piped(replace(record, results=results)).splitlines()
    assert "# samples: 3 per point" in piped(record).splitlines()


def test_there_is_no_speed_up_over_no_time() -> None:
    record = two(full())
    other, this = record.results
    none = replace(this, latency_us=replace(this.latency_us, median=0.0))
    assert speed_ups(replace(record, results=(other, none))) == [("-", "-")]


def test_the_reference_is_the_first_other_backend_also_when_it_comes_later() -> None:
    record = two(full())
    assert "vs mpi" in piped(replace(record, results=record.results[::-1]))


def test_the_same_point_measured_twice_is_two_rows() -> None:
    record = two(full())
    twice = replace(record, results=record.results + record.results[1:])
    assert speed_ups(twice) == [("7.50x", "±7%"), ("-", "-")]


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
    (where,) = (m.span() for m in re.finditer(label, heading))
    rows = [line for line in lines if not line.startswith("#")]
    assert all(where[0] < row.index(time) < where[1] for row in rows for time in (row.split()[2],))


CHOSEN = ("packet", "packet", "signal")


def chosen() -> RunRecord:
    """Three backends, of which nvrar chose its protocol by size."""
    record = full()
    own = [r for r in record.results if r.dtype == "float32"]
    mpi = [r for r in own if r.backend == "mpi"]
    nvrar = [r for r in own if r.variant == "signal"]
    results = [
        one
        for other, this, variant in zip(mpi, nvrar, CHOSEN, strict=True)
        for one in (
            replace(other, backend="nccl", variant="window"),
            replace(other, variant="staged"),
            replace(this, variant=variant),
        )
    ]
    return replace(record, results=tuple(results))


def test_a_backend_that_chooses_by_size_is_one_column_with_what_ran_in_the_row() -> None:
    lines = piped(chosen()).splitlines()
    head = next(line for line in lines if "nccl window" in line)
    assert head.split() == ["#", "nccl", "window", "mpi", "staged", "nvrar", "speed-up"]
    rows = [line.split() for line in lines if not line.startswith("#")]
    assert tuple(word for row in rows for word in row if word in CHOSEN) == CHOSEN
    assert all(row[-3:] == ["7.50x", sure, "0"] for row, sure in zip(
        rows, ("±7%", "±7%", "±158%"), strict=True))  # fmt: skip


def test_protocols_that_were_asked_for_are_columns_of_their_own() -> None:
    assert "nvrar signal" in piped(full())
    assert "nvrar packet" in piped(full())


@pytest.mark.parametrize(("record", "width"), [(chosen, 100), (single, 80), (full, 100)])
def test_lines_are_no_wider_than_the_screen(record: Callable[[], RunRecord], width: int) -> None:
    lines = without_colour(on_terminal(record(), width=width)).splitlines()
    assert max(map(len, lines)) <= width
    assert max(map(len, piped(record()).splitlines())) <= 100
    assert any("±95%" in line for line in lines)


def test_wide_adds_what_explains_the_statistics() -> None:
    file = StringIO()
    table.write(two(full()), Console(file=file, _environ={}), wide=True)
    text = file.getvalue()
    assert "n eff" in text
    assert "18.08..19.95" in text
    assert re.search(r"7\.50x +6\.\d\dx\.\.8\.\d\dx", text)


def test_one_wrong_result_is_in_the_one_count_and_named_below() -> None:
    rows = [line for line in piped(full()).splitlines() if line.startswith("    1K")]
    assert [row.split()[-1] for row in rows] == ["17"]
    assert "# wrong: nvrar signal at 1K" in piped(full())


def said(record: RunRecord) -> list[str]:
    return [line for line in piped(record).splitlines() if "as fast as" in line]


def exactly(median: float, one: Result) -> Latency:
    return replace(one.latency_us, median=median, ci95_low=median, ci95_high=median)


def test_a_line_sums_up_at_how_many_points_a_series_is_surely_faster_or_slower() -> None:
    record = single()
    others = [
        replace(one, backend="nvrar", latency_us=exactly(factor * one.latency_us.median, one))
        for factor, one in zip((0.25, 2, 1), record.results, strict=True)
    ]
    (line,) = said(replace(record, results=(*record.results, *others)))
    assert line.endswith(
        "0.50x to 4.00x as fast as mpi; surely faster at 1 of 3 points, slower at 1"
    )


def test_one_point_has_no_summary() -> None:
    assert said(two(full())) == []
