"""`nvrar-bench report`, as its user starts it."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from output import valid
from rich.console import Console
from stored import RECORD, Stored

from nvrar_bench.documents.record import RunRecord
from nvrar_bench.documents.result import Result
from nvrar_bench.documents.run_file import encode
from nvrar_bench.report import Shown, csv_rows, openmetrics, page, table
from nvrar_bench.statistics.figures import replay
from tests.statistics.records import TWICE, record, result

RUN = record(result(TWICE), result([[4.0, 5.0, 6.0]], 8), result([[7.0] * 9], backend="mpi"))


def _stale(one: Result) -> Result:
    return replace(one, latency_us=replace(one.latency_us, median=99.0), busbw_gb_per_s=99.0)


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    stale = replace(RUN, results=tuple(_stale(one) for one in RUN.results))
    Path("run.json").write_text(encode(stale))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Stored:
    return Stored(monkeypatch, capsys)


def shown(module: Any, record: RunRecord) -> str:
    file = io.StringIO()
    module.write(record, Console(file=file, width=400, force_terminal=False))
    return file.getvalue()


def test_the_table_has_figures_of_the_samples_and_not_the_stored_ones(run: Stored) -> None:
    done = run("report", "run.json")
    assert (done.code, done.error) == (0, "")
    assert done.out == shown(table, replay(RUN))
    assert "99.00" not in done.out


def test_summary(run: Stored) -> None:
    done = run("report", "run.json", "--summary")
    assert (done.code, done.out) == (0, shown(Shown("summary"), replay(RUN)))


def test_the_record_with_new_figures(run: Stored) -> None:
    alone = run("report", "run.json", "--json", "-")
    assert RunRecord.from_json(valid(json.loads(alone.out))) == replay(RUN)
    assert run("report", "run.json", "--json", "again.json").out == shown(table, replay(RUN))
    assert Path("again.json").read_text() == alone.out


def test_a_run_that_goes_on_is_written_as_it_is(run: Stored) -> None:
    begun = replace(RUN, run=replace(RUN.run, finished_at=None, status="interrupted"))
    Path("run.json").write_text(encode(begun))
    done = run("report", "run.json", "--json", "-")
    assert json.loads(done.out)["run"] == begun.to_json()["run"]


def test_the_file_itself_is_not_replaced(run: Stored) -> None:
    before = Path("run.json").read_bytes()
    done = run("report", "run.json", "--json", "run.json")
    assert done.code == 2
    assert "--json run.json is the same file as RUN.json run.json" in done.message()
    assert Path("run.json").read_bytes() == before


def test_standard_input(run: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    content = Path("run.json").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert run("report", "-").out == shown(table, replay(RUN))


def test_several_runs_one_after_the_other(run: Stored) -> None:
    assert run("report", "run.json", "run.json").out == 2 * shown(table, replay(RUN))


def test_no_time_has_no_bandwidth(run: Stored) -> None:
    value = RUN.to_json()
    value["results"][0]["samples_us"] = [0.0] * 20
    Path("zero.json").write_text(json.dumps(value))
    message = run("report", "zero.json").message()
    assert message.startswith("zero.json: ")
    assert "bandwidth" in message


FORMS = {
    "--format table": lambda records: "".join(shown(table, one) for one in records),
    "--summary": lambda records: "".join(shown(Shown("summary"), one) for one in records),
    "--format csv": csv_rows.encode,
    "--format csv --samples": csv_rows.encode_samples,
    "--format openmetrics": openmetrics.encode,
    "--format html": page.encode,
}


@pytest.mark.parametrize("words", FORMS)
def test_every_form_is_of_new_figures_on_standard_output_and_in_a_file(
    run: Stored, words: str
) -> None:
    wanted = FORMS[words]([replay(RUN)])
    done = run("report", "run.json", *words.split())
    assert (done.code, done.out, done.error) == (0, wanted, "")
    Path("out").write_text("old")
    for place in ("out", "-"):
        again = run("report", "run.json", *words.split(), "--output", place)
        assert (again.code, again.error) == (0, "")
        assert again.out == (wanted if place == "-" else "")
    assert Path("out").read_bytes() == wanted.encode()
    assert "99.0" not in wanted


@pytest.mark.parametrize("words", [words for words in FORMS if words != "--format openmetrics"])
def test_every_form_but_one_takes_several_runs(run: Stored, words: str) -> None:
    done = run("report", "run.json", "run.json", *words.split())
    assert (done.code, done.out) == (0, FORMS[words]([replay(RUN), replay(RUN)]))


@pytest.mark.parametrize("words", FORMS)
def test_what_a_form_has_no_place_for_is_said_on_standard_error(run: Stored, words: str) -> None:
    bad = RUN.with_skipped("nccl", "no GPU\nhere").with_error(ValueError("lost")).finished("failed")
    Path("bad.json").write_text(encode(replace(bad, results=())))
    done = run("report", "bad.json", *words.split())
    assert done.code == 0
    said = (
        "nvrar-bench: bad.json: no results\n"
        "nvrar-bench: bad.json: skipped: nccl: no GPU here\n"
        "nvrar-bench: bad.json: error: ValueError: lost\n"
        "nvrar-bench: bad.json: the run is not complete: failed\n"
    )
    has_no_place = "csv" in words or "openmetrics" in words
    assert done.error == (said if has_no_place else "")


def test_a_record_and_a_report_of_it_at_once(run: Stored) -> None:
    alone = run("report", "run.json", "--json", "-").out
    done = run("report", "run.json", "--json", "-", "--format", "csv", "--output", "run.csv")
    assert done.out == alone
    assert Path("run.csv").read_bytes() == csv_rows.encode([replay(RUN)]).encode()
    done = run("report", "run.json", "--json", "again.json", "--format", "html")
    assert done.out == page.encode([replay(RUN)])
    assert Path("again.json").read_text() == alone


def test_forms_are_utf_8_whatever_standard_output_is(
    run: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(content, encoding="ascii"))
    odd = replace(RUN.results[0], warnings=("é \ud800",))
    Path("odd.json").write_text(encode(replace(RUN, results=(odd,))))
    for form in ("csv", "openmetrics", "html"):
        assert run("report", "odd.json", "--format", form).code == 0
    assert "é \\ud800" in content.getvalue().decode("utf-8")


@pytest.mark.parametrize("words", ["run.json damaged.json", "damaged.json run.json"])
def test_of_a_damaged_record_nothing_is_written(run: Stored, words: str) -> None:
    Path("damaged.json").write_text("{")
    Path("out.csv").write_text("old")
    done = run("report", *words.split(), "--format", "csv", "--output", "out.csv")
    assert (done.code, done.out) == (2, "")
    assert Path("out.csv").read_text() == "old"
    assert sorted(path.name for path in Path().iterdir()) == ["damaged.json", "out.csv", "run.json"]


@pytest.mark.parametrize(
    ("words", "texts"),
    [
        ("run.json --format pdf", ["--format 'pdf'", "table, csv, openmetrics, html"]),
        ("run.json --format=", ["--format ''", "table, csv, openmetrics, html"]),
        ("run.json run.json --format openmetrics", ["--format openmetrics", "2 runs", "one run"]),
        ("run.json --samples", ["--samples with --format table", "allowed: --format csv"]),
        ("run.json --samples --format html", ["--samples with --format html", "--format csv"]),
        ("run.json --summary --format csv", ["--summary with --format csv", "--format table"]),
        ("run.json --summary --samples", ["--samples with --format table"]),
        ("run.json --json - --format csv", ["--json - with --format csv", "--output PATH"]),
        ("run.json --json - --output -", ["--json - with --output -", "one of them"]),
        ("run.json --json x --output ./x", ["--output x", "--json", "another file"]),
        ("run.json --output run.json", ["--output run.json", "RUN.json run.json", "another file"]),
        ("run.json --output no/x", ["--output 'no/x'", "existing folder"]),
        ("run.json --output .", ["--output '.'", "folder"]),
        ("run.json --output /dev/null", ["--output '/dev/null'", "regular file"]),
        ("nosuch.json --format html", ["'nosuch.json'", "No such file", "allowed"]),
        ("nosuch.json", ["'nosuch.json'", "No such file", "allowed"]),
        (".", ["'.'", "directory"]),
        ("damaged.json", ["damaged.json: this is not the JSON of a run"]),
        ("run.json run.json --json x", ["--json", "2 runs", "allowed: one"]),
        ("run.json --json no/x", ["--json 'no/x'", "existing folder"]),
        ("", ["RUN.json"]),
    ],
)
def test_a_mistake_gives_one_message_and_nothing_else(
    run: Stored, words: str, texts: list[str]
) -> None:
    Path("damaged.json").write_text("{")
    done = run("report", *words.split())
    assert (done.code, done.out) == (2, "")
    assert [text for text in texts if text not in done.message()] == []


SAFE = settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


ANYTHING = [(), ("--json", "-"), *(tuple(words.split()) for words in FORMS)]


def _never_a_traceback(run: Stored, content: bytes, *words: str) -> None:
    Path("odd.json").write_bytes(content)
    for option in [words] if words else ANYTHING:
        done = run("report", "odd.json", *option)
        assert done.code in (0, 2), done.error
        if done.code:
            assert done.message().startswith("odd.json: ")
            assert done.out == ""


@SAFE
@given(content=st.binary())
def test_any_bytes_are_shown_or_refused(run: Stored, content: bytes) -> None:
    _never_a_traceback(run, content)


@SAFE
@given(data=st.data())
def test_a_damaged_record_is_shown_or_refused(run: Stored, data: st.DataObject) -> None:
    content = bytearray(RECORD.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(content) - 1))
        content[start : start + data.draw(st.integers(0, 2))] = data.draw(
            st.sampled_from([b"", b"0", b"9", b"-", b'"', b"e", b",", b"1,0,", b"\\u0000"])
        )
    _never_a_traceback(run, bytes(content))


@SAFE
@given(soak=st.none() | st.integers() | st.text() | st.dictionaries(
    st.sampled_from(["calls", "seconds", "calls_by_backend"]),
    st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.dictionaries(st.text(), st.integers()),
))  # fmt: skip
def test_a_record_of_a_soak_may_hold_anything(run: Stored, soak: Any) -> None:
    value = RUN.to_json()
    value["environment"]["soak"] = soak
    _never_a_traceback(run, json.dumps(value).encode(), "--summary")
