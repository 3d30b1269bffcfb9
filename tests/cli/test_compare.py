"""`nvrar-bench compare`, as its user starts it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from stored import Stored

from nvrar_bench.documents import schema_of
from nvrar_bench.documents.comparison import ComparisonDocument
from nvrar_bench.documents.record import RunRecord
from nvrar_bench.documents.run_file import encode
from tests.statistics.records import FAILED, SLOW, TOPOLOGY, TWICE, record, result

FILES: dict[str, RunRecord] = {
    "a.json": record(result(TWICE), result(TWICE, 8)),
    "same.json": record(result(TWICE), result(TWICE, 8)),
    "noisy.json": record(result(TWICE), result([[10.0] * 10, [13.0] * 10], 8), run_id="c" * 32),
    "slow.json": record(result(TWICE), result(SLOW, 8)),
    "wrong.json": record(result(TWICE), result(TWICE, 8, check=FAILED)),
    "short.json": record(result(TWICE)),
    "graph.json": record(result(TWICE), graph=8),
    "four.json": replace(record(result(TWICE)), topology=replace(TOPOLOGY, ranks=4)),
    "empty.json": record(),
}


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, run in FILES.items():
        Path(name).write_text(encode(run))
    Path("damaged.json").write_text(encode(FILES["a.json"])[:-20])
    Path("old.json").write_text(encode(FILES["a.json"]).replace('"1.4"', '"0.9"'))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Stored:
    return Stored(monkeypatch, capsys)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("a.json same.json", 0),
        ("a.json slow.json", 6),
        ("slow.json a.json", 0),
        ("a.json slow.json --threshold 25%", 0),
        ("a.json slow.json --threshold 0.25", 0),
        ("a.json wrong.json", 3),
        ("a.json noisy.json", 0),
        ("a.json noisy.json --strict", 6),
        ("a.json same.json --strict", 0),
        ("a.json short.json", 2),
        ("a.json short.json --allow-missing", 0),
        ("a.json same.json slow.json same.json", 6),
        ("a.json slow.json wrong.json", 3),
        ("a.json slow.json wrong.json short.json", 2),
        ("a.json slow.json wrong.json short.json --allow-missing", 3),
    ],
)
def test_exit_codes(run: Stored, words: str, code: int) -> None:
    done = run("compare", *words.split())
    assert done.code == code
    assert done.out.count("# base: a.json") + done.out.count("# base: slow.json") >= 1
    assert (done.error == "") == (code == 0)
    if code:
        done.message()


@pytest.mark.parametrize(
    ("words", "texts"),
    [
        ("a.json graph.json", ["graph.json cannot be compared with a.json", "graph (1, 8)"]),
        ("a.json same.json four.json graph.json", ["ranks (2, 4)", "graph (1, 8)"]),
        ("a.json empty.json", ["empty.json holds no results"]),
        ("empty.json a.json", ["empty.json holds no results"]),
        ("a.json nosuch.json", ["'nosuch.json'", "No such file", "allowed"]),
        ("a.json .", ["'.'", "directory", "allowed"]),
        ("a.json damaged.json", ["damaged.json: this is not the JSON of a run"]),
        ("old.json a.json", ["old.json: ", "format_version '0.9', written by nvrar-bench 0.1.0"]),
        ("a.json", ["NEW.json"]),
        ("a.json same.json --threshold 5", ["--threshold '5'", "0% to 100%, or 0 to 1"]),
        ("a.json same.json --threshold nan", ["--threshold 'nan'", "allowed"]),
        ("a.json same.json --threshold -1%", ["--threshold '-1%'", "allowed"]),
        ("a.json same.json --threshold x%", ["--threshold 'x%'", "allowed"]),
        ("a.json same.json --seed -1", ["--seed -1", "allowed"]),
        ("a.json same.json --seed x", ["--seed", "'x'", "whole number"]),
        ("a.json same.json --json - --markdown -", ["--json -", "--markdown -", "allowed"]),
        ("a.json same.json --json no/x", ["--json 'no/x'", "existing folder"]),
        ("a.json same.json --markdown no/x", ["--markdown 'no/x'", "existing folder"]),
        ("a.json same.json --markdown .", ["--markdown '.'", "folder"]),
    ],
)
def test_a_mistake_gives_one_message_and_nothing_else(
    run: Stored, words: str, texts: list[str]
) -> None:
    done = run("compare", *words.split())
    assert (done.code, done.out) == (2, "")
    assert [text for text in texts if text not in done.message()] == []


def test_the_last_line_says_what_would_decide(run: Stored) -> None:
    done = run("compare", "a.json", "noisy.json", "--strict")
    last = done.out.splitlines()[-1]
    found = re.fullmatch(
        r"# undecided: 1 of 2 points; about (\d+) launches of each run would decide them: "
        r"sweep --launches \1",
        last,
    )
    assert found, last
    assert "noisy.json: 1 of 2 points undecided, which --strict does not allow" in done.message()
    said = json.loads(run("compare", "a.json", "noisy.json", "--json", "-").out)
    needed = [point["launches_needed"] for point in said["comparisons"][0]["points"]]
    assert needed == [None, int(found[1])]


def test_what_is_slower_is_told_before_what_is_undecided(run: Stored) -> None:
    done = run("compare", "a.json", "noisy.json", "slow.json", "--strict")
    assert done.code == 6
    assert "slow.json: 1 of 2 points slower" in done.message()
    assert "undecided" not in done.message()


def test_a_record_beside_itself_is_the_same(run: Stored) -> None:
    done = run("compare", "noisy.json", "noisy.json", "--strict")
    assert (done.code, done.error) == (0, "")
    assert "2 points at a threshold of 5 %: 2 same" in done.out
    assert "new is the same run as base" in done.out


def test_json_alone_on_standard_output(run: Stored) -> None:
    done = run("compare", "a.json", "slow.json", "--json", "-", "--markdown", "x.md")
    value: dict[str, Any] = json.loads(done.out)
    jsonschema.validate(value, schema_of(ComparisonDocument), cls=jsonschema.Draft202012Validator)
    assert value["base"]["file"] == "a.json"
    assert value["comparisons"][0]["summary"]["slower"] == 1
    assert done.code == 6
    assert Path("x.md").read_text().startswith("**2 points at a threshold of 5 %: 1 slower, 1 same")


def test_markdown_alone_on_standard_output(run: Stored) -> None:
    done = run("compare", "a.json", "same.json", "--markdown", "-", "--json", "x.json")
    assert done.out.startswith("**2 points at a threshold of 5 %: 2 same**\n")
    assert (done.code, done.error) == (0, "")
    assert json.loads(Path("x.json").read_text())["threshold"] == 0.05


def test_a_failed_comparison_is_written_too(run: Stored) -> None:
    assert run("compare", "a.json", "short.json", "--json", "x.json").code == 2
    assert json.loads(Path("x.json").read_text())["comparisons"][0]["summary"]["missing"] == 1


def test_a_mistake_leaves_old_files_as_they_were(run: Stored) -> None:
    Path("x.json").write_text("old")
    assert run("compare", "a.json", "four.json", "--json", "x.json").code == 2
    assert Path("x.json").read_text() == "old"


def test_the_threshold_and_the_seed_arrive(run: Stored) -> None:
    done = run("compare", "a.json", "same.json", "--threshold", "2.5%", "--seed", 7, "--json", "-")
    value = json.loads(done.out)
    assert (value["threshold"], value["seed"]) == (0.025, 7)


def test_no_mpi_is_loaded() -> None:
    code = "import sys; from nvrar_bench.__main__ import _run; code = _run(); "
    code += "sys.exit(code or any(name.startswith('mpi4py') for name in sys.modules))"
    for words in (["compare", "a.json", "same.json"], ["report", "a.json"]):
        line = [sys.executable, "-c", code, *words]
        done = subprocess.run(line, capture_output=True, text=True, env=os.environ)
        assert done.returncode == 0, done.stderr


def test_schemas(run: Stored) -> None:
    assert json.loads(run("schema", "comparison").out) == schema_of(ComparisonDocument)
    assert run("schema", "run").out == run("schema").out
    assert "run, comparison, tuning, env" in run("schema", "nosuch").message()


CONTENT = encode(record(result(TWICE, variant="x"))).encode()
SAFE = settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def _never_a_traceback(run: Stored, content: bytes) -> None:
    Path("odd.json").write_bytes(content)
    for words in (("a.json", "odd.json"), ("odd.json", "a.json"), ("odd.json", "odd.json")):
        done = run("compare", *words)
        assert done.code in (0, 2, 3, 6), done.error
        if done.code:
            done.message()


@SAFE
@given(content=st.binary())
def test_any_bytes_are_compared_or_refused(run: Stored, content: bytes) -> None:
    _never_a_traceback(run, content)


@SAFE
@given(data=st.data())
def test_a_damaged_record_is_compared_or_refused(run: Stored, data: st.DataObject) -> None:
    content = bytearray(CONTENT)
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(content) - 1))
        content[start : start + data.draw(st.integers(0, 2))] = data.draw(
            st.sampled_from([b"", b"0", b"9", b"-", b'"', b"e", b",", b"1,0,", b"\\u0000"])
        )
    _never_a_traceback(run, bytes(content))


@SAFE
@given(
    samples=st.lists(st.floats(0, 1e12) | st.sampled_from([0.0, 1e-9, 1e-3, 1.0]), max_size=12),
    cut=st.integers(0, 12),
    late=st.sets(st.integers(0, 11)),
)
def test_any_samples_give_a_verdict(
    run: Stored, samples: list[float], cut: int, late: set[int]
) -> None:
    value = record(result(TWICE)).to_json()
    cut = min(cut, len(samples))
    value["results"][0].update(
        samples=len(samples), samples_us=samples, launch_samples=[cut, len(samples) - cut],
        late=[i for i in late if i < len(samples)],
    )  # fmt: skip
    _never_a_traceback(run, json.dumps(value).encode())
