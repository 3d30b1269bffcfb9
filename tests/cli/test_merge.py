"""`nvrar-bench merge`: records that the user's own mpirun made become one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from output import one_error, read, valid

from nvrar_bench.cli.stored import MergeOptions, merge
from nvrar_bench.documents.record import RankPlace, RunRecord, Topology
from nvrar_bench.documents.result import Check
from nvrar_bench.documents.run_file import encode
from nvrar_bench.errors import UsageError
from nvrar_bench.statistics.figures import make_result

PLACES = (RankPlace(0, "here", 0, 0, None), RankPlace(1, "here", 0, 1, None))


def _write(path: Path, *samples_us: float, **settings: Any) -> Path:
    result = make_result(
        ranks=2, samples_us=samples_us, launch_samples=(len(samples_us),), late=(), target=None,
        warnings=(), backend="fake", variant="", device="cpu", buffers="symmetric",
        dtype="float32", op="sum", placement="out_of_place", size_bytes=64, count=16, warmup=0,
        stop_reason="iterations", arrivals=(),
        check=Check("passed", "exact", 16, 0, None, timed=True),
    )  # fmt: skip
    record = RunRecord.begin(
        command=["sweep"], version="0", settings=settings,
        topology=Topology(2, 1, 2, False, PLACES), environment={},
    )  # fmt: skip
    path.write_text(encode(replace(record, results=(result,)).finished("complete")))
    return path


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    return [_write(tmp_path / f"run{i}.json", 10.0 + i, 20.0 + i) for i in range(3)]


def test_table_and_file(run_command: Any, runs: list[Path], tmp_path: Path):
    done = run_command("merge", *runs, "--json", tmp_path / "all.json")
    assert (done.code, done.stderr) == (0, "")
    assert "# launches: 3\n" in done.stdout
    assert "float32 sum" in done.stdout
    result = read(tmp_path / "all.json")["results"][0]
    assert result["samples_us"] == [10.0, 20.0, 11.0, 21.0, 12.0, 22.0]
    assert result["launch_samples"] == [2, 2, 2]
    assert result["latency_us"]["median"] == 16.0


def test_record_alone_on_stdout(run_command: Any, runs: list[Path]):
    done = run_command("merge", *runs, "--json", "-")
    assert (done.code, done.stderr) == (0, "")
    assert valid(json.loads(done.stdout))["settings"]["launches"] == 3


def test_a_missing_file(run_command: Any, runs: list[Path], tmp_path: Path):
    done = run_command("merge", *runs, tmp_path / "missing.json")
    message = one_error(done.stderr)
    assert (done.code, done.stdout) == (2, "")
    assert "missing.json' cannot be read: No such file" in message


def test_no_file(run_command: Any):
    done = run_command("merge")
    assert (done.code, done.stdout) == (2, "")
    assert "RUN.json" in one_error(done.stderr)


@pytest.mark.parametrize(
    ("names", "json", "texts"),
    [
        (["."], None, ["directory"]),
        (["odd.json"], None, ["odd.json", "not the JSON of a run"]),
        (["run0.json", "other.json"], None, ["other.json", "run0.json", "settings.iters is 7 in"]),
        (["run0.json", "run0.json"], None, ["run0.json", "both hold the run"]),
        (["run0.json", "run1.json"], "./run0.json", ["--json", "run0.json", "another file"]),
        (["run0.json"], "no/a.json", ["--json", "no/a.json", "existing folder"]),
    ],
)
def test_mistakes(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any,
    names: list[str], json: str | None, texts: list[str],
):  # fmt: skip
    monkeypatch.chdir(tmp_path)
    _write(tmp_path / "other.json", 1.0, iters=7)
    (tmp_path / "odd.json").write_text("{")
    before = runs[0].read_text()
    with pytest.raises(UsageError) as told:
        merge(MergeOptions(records=[Path(name) for name in names], json=json and Path(json)))
    assert [text for text in texts if text not in str(told.value)] == [], told.value
    assert (runs[0].read_text(), capsys.readouterr().out) == (before, "")
