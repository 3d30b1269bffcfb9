"""CSV: what is in it to the byte, and that it is read as it was written."""

from __future__ import annotations

import csv
from io import StringIO

import numpy as np
import pytest
from hypothesis import given
from msgspec.structs import replace

from nvrar_bench.documents.record import RunRecord
from nvrar_bench.documents.result import FirstWrong, Latency
from nvrar_bench.report.csv_rows import encode, encode_samples
from nvrar_bench.report.grid import printable
from nvrar_bench.statistics.figures import replay
from nvrar_bench.statistics.points import Counted
from tests.statistics.records import record, result, states

from .golden_files import full, is_documented, matches
from .nasty import TEXTS, with_text


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(text, newline=""), strict=True))


def test_a_row_per_result() -> None:
    assert matches("run.csv", encode([full()]))


def test_several_runs_are_told_apart_by_their_id() -> None:
    other = replace(full(), run=replace(full().run, id="b", status="complete"))
    found = rows(encode([full(), other]))
    assert [row["run_id"] for row in found] == ["0" * 32] * 12 + ["b"] * 12
    assert found[12]["run_status"] == "complete"


def test_columns_are_the_keys_of_the_record_with_their_path() -> None:
    (row,) = rows(encode([record(result([[1.5, 2.5, 9.0]]))]))
    names = Latency.__struct_fields__
    assert [name for name in row if name.startswith("latency_us_")] == [
        f"latency_us_{name}" for name in names
    ]
    assert (row["latency_us_median"], row["latency_us_ci95_low"]) == ("2.5", "")
    assert all(name == name.lower() and name.isidentifier() for name in row)


def test_all_digits_are_kept() -> None:
    one = replace(result([[0.1]]), algbw_gb_per_s=0.1 + 0.2)
    assert float(rows(encode([record(one)]))[0]["algbw_gb_per_s"]) == 0.1 + 0.2


def test_the_same_point_again_is_numbered() -> None:
    found = rows(encode([record(result([[1.0]]), result([[2.0]], 8), result([[3.0]]))]))
    assert [(row["size_bytes"], row["repeat"]) for row in found] == [
        ("4096", "0"), ("8", "0"), ("4096", "1"),
    ]  # fmt: skip


def test_the_first_wrong_element_and_all_warnings() -> None:
    check = replace(result([[1.0]]).check, status="failed", wrong=2)
    check = replace(check, first_wrong=FirstWrong(1, 3, "-inf", "nan"))
    one = replace(result([[1.0]], check=check), warnings=("slow", "late; mend it"))
    (row,) = rows(encode([record(one)]))
    assert [row[f"check_{key}"] for key in ("status", "wrong")] == ["failed", "2"]
    first = ("rank", "index", "expected", "seen")
    assert [row[f"check_first_wrong_{key}"] for key in first] == ["1", "3", "-inf", "nan"]
    assert row["warnings"] == "slow | late; mend it"


def test_no_results_are_no_rows() -> None:
    assert encode([record()]).count("\r\n") == 1


@pytest.mark.parametrize("encoded", [encode([full()]), encode_samples([full()])])
def test_every_column_is_documented(encoded: str) -> None:
    assert [name for name in rows(encoded)[0] if not is_documented(name)] == []


LAUNCHES = [[5.0, 1.0, 2.0], [3.0, 9.0]]


def two_states() -> RunRecord:
    """Two launches, of which the second met the slower state of the machine; one late sample."""
    one = result(LAUNCHES, late=(1,), stretches=states(LAUNCHES, 1.0, 5.0))
    return replay(record(one, result([[7.0]], backend="mpi")), one_state=True)


def test_a_row_per_sample() -> None:
    found = rows(encode_samples([two_states()]))
    shown = [[row[key] for key in ("launch", "index", "latency_us", "late")] for row in found]
    assert shown == [
        ["0", "0", "5.0", "false"],
        ["0", "1", "1.0", "true"],
        ["0", "2", "2.0", "false"],
        ["1", "0", "3.0", "false"],
        ["1", "1", "9.0", "false"],
        ["0", "0", "7.0", "false"],
    ]
    assert [row["backend"] for row in found] == ["nvrar"] * 5 + ["mpi"]
    assert {row["run_id"] for row in found} == {"a" * 32}


@pytest.mark.parametrize("which", [0, 1])
def test_the_median_is_of_the_samples_that_say_so(which: int) -> None:
    run = two_states()
    one = run.results[which]
    found = [row for row in rows(encode_samples([run])) if row["backend"] == one.backend]
    chosen = [float(row["latency_us"]) for row in found if row["in_median"] == "true"]
    assert [row["in_median"] == "true" for row in found] == Counted.of_result(
        one, one_state=True
    ).mask.tolist()
    by_launch = {row["launch"] for row in found if row["in_median"] == "true"}
    assert len(by_launch) == 1  # else it would be a median of medians
    assert np.median(chosen) == one.latency_us.median


@given(text=TEXTS)
def test_any_text_is_read_back_and_is_no_formula(text: str) -> None:
    shown = printable(text, "utf-8")
    for encoded in (encode([with_text(text)]), encode_samples([with_text(text)])):
        assert encoded.encode("utf-8").count(b"\n") == encoded.count("\r\n")
        for row in rows(encoded):
            assert row["backend"] in (shown, f"'{shown}")
            formulas = [
                cell for cell in row.values() if cell[:1] in tuple("=+@") or cell[:2] == "-="
            ]
            assert formulas == []


def test_a_negative_number_is_no_formula() -> None:
    one = result([[1.0]])
    one = replace(one, independence=replace(one.independence, lag1=-0.25))
    assert rows(encode([record(one)]))[0]["independence_lag1"] == "-0.25"
    assert rows(encode([record(replace(one, variant="-x"))]))[0]["variant"] == "'-x"
