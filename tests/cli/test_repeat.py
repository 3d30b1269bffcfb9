"""`--launches N`: the whole mpirun N times, and one record of all of it, however it ends.

Launches differ by a sitecustomize.py that every rank runs first: it has the fake backend do another
thing in each launch.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from output import messages, one_error, read, valid, wait_until

from nvrar_bench.documents.record import RankPlace, RunRecord, Topology
from nvrar_bench.documents.run_file import Writer, encode
from nvrar_bench.errors import NvrarBenchError, UsageError
from nvrar_bench.launch import repeat
from nvrar_bench.launch.repeat import Wanted
from nvrar_bench.report import Shown
from tests.statistics import records as samples

CUSTOMISE = """
import os
scripts = {scripts!r}
launch = os.environ.get("NVRAR_BENCH_LAUNCH")
if launch is not None:
    os.environ["NVRAR_BENCH_FAKE"] = scripts[int(launch)]
"""
SWEEP = ("sweep", "--backend", "fake", "--ranks", 2, "-n", 5, "-w", 0)


@pytest.fixture
def environment(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """`environment("scale=1", "wrong=0")`: variables with which the fake backend does these."""

    def make(*scripts: str) -> dict[str, str]:
        folder, temporary = tmp_path / "site", tmp_path / "temporary"
        folder.mkdir()
        temporary.mkdir()
        (folder / "sitecustomize.py").write_text(CUSTOMISE.format(scripts=scripts))
        path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
        return {"PYTHONPATH": path, "TMPDIR": str(temporary)}

    return make


def _nothing_left(tmp_path: Path) -> bool:
    return not list((tmp_path / "temporary").glob("nvrar-bench-*"))


def test_three_launches(run_command: Any, environment: Any, tmp_path: Path):
    path = tmp_path / "all.json"
    words = (*SWEEP, "--sizes", "64,1000", "--launches", 3, "--json", path)
    done = run_command(*words, environment=environment("scale=1", "scale=2", "scale=3"))
    assert (done.code, messages(done.stderr)) == (0, [])
    assert [f"[{k}/3] launch" in done.stderr for k in (1, 2, 3)] == [True] * 3
    assert done.stdout.count("# nvrar-bench ") == 1
    assert "# launches: 3\n" in done.stdout
    record = read(path)
    assert record["run"]["status"] == "complete"
    assert record["run"]["command"][1:] == [str(word) for word in words]
    assert record["settings"]["launches"] == 3
    assert len({each["id"] for each in record["environment"]["launches"]}) == 3
    assert [result["size_bytes"] for result in record["results"]] == [64, 1000]
    for result in record["results"]:
        assert result["launch_samples"] == [5, 5, 5]
        once = result["samples_us"][:5]
        scaled = [us * scale for scale in (1, 2, 3) for us in once]
        assert result["samples_us"] == pytest.approx(scaled, abs=0.002)  # whole nanoseconds
        assert result["check"]["status"] == "passed"
    assert _nothing_left(tmp_path)


def test_a_launch_that_goes_wrong_is_the_last(run_command: Any, environment: Any, tmp_path: Path):
    words = (*SWEEP, "--sizes", "64,128", "--launches", 3, "--json", "-")
    done = run_command(*words, environment=environment("", "wrong=0", ""))
    assert done.code == 3
    assert "wrong result" in one_error(done.stderr)
    assert "[3/3]" not in done.stderr
    record = valid(json.loads(done.stdout))
    assert record["run"]["status"] == "failed"
    assert [error["message"][:10] for error in record["errors"]] == ["launch 2: "]
    first, last = record["results"]
    assert (first["launch_samples"], first["check"]["status"]) == ([5, 1], "failed")
    assert first["check"]["elements"] > first["check"]["wrong"] > 0
    assert (last["launch_samples"][0], last["check"]["status"]) == (5, "passed")
    assert _nothing_left(tmp_path)


def _in_second_launch(tmp_path: Path) -> bool:
    return bool(list((tmp_path / "temporary").glob("nvrar-bench-*/1.json")))


def test_ctrl_c_in_the_second_launch(
    start: Any, environment: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "all.json"
    for name, value in environment("", "hang=0", "").items():
        monkeypatch.setenv(name, value)
    job = start(*SWEEP, "--sizes", "64,128", "--launches", 3, "--json", path)
    job.wait_for_results(path, 2)
    unfinished = read(path)["run"]
    assert (unfinished["status"], unfinished["finished_at"]) == ("interrupted", None)
    assert wait_until(lambda: _in_second_launch(tmp_path), 30.0)
    job.send(job.first(), signal.SIGINT)
    done = job.end(20.0)
    assert done.code == 130
    assert len(messages(done.stderr)) == 1, done.stderr
    record = read(path)
    assert record["run"]["status"] == "interrupted"
    assert record["run"]["id"] == unfinished["id"]
    assert record["run"]["finished_at"] is not None
    assert [result["launch_samples"][0] for result in record["results"]] == [5, 5]
    assert record["errors"][0]["message"].startswith("launch 2: ")
    assert done.stdout.count("# nvrar-bench ") == 1
    assert _nothing_left(tmp_path)


@pytest.mark.slow
def test_as_many_launches_as_share_a_state(run_command: Any, tmp_path: Path):
    """What these find nobody knows; either the launches sufficed, or every one was used."""
    path = tmp_path / "all.json"
    words = ("sweep", "--ranks", 2, "--backend", "mpi", "--sizes", "64", "-n", 50)
    done = run_command(*words, "--launches", 2, "--max-launches", 3, "--json", path)
    assert (done.code, "[1/3] launch\n" in done.stderr) == (0, True)
    # One launch of a restless machine may have been in no state for long.
    assert re.search(r"s left; [01] of 2 in one state so far\n", done.stderr)
    assert read(path)["settings"]["one_state"] is True
    (result,) = read(path)["results"]
    taken, shared = len(result["launch_samples"]), len(result["launches"]["medians_us"])
    told = any("--launches 2 were asked for" in text for text in result["warnings"])
    assert (taken, told) in ((2, False), (3, False), (3, True))
    assert told or shared >= 2
    assert _nothing_left(tmp_path)


def test_virtual_ranks(run_command: Any, tmp_path: Path):
    path = tmp_path / "all.json"
    virtual = ("--fabric", "loopback", "--virtual-ranks", 2, "--device", "cpu")
    words = ("sweep", *virtual, "--backend", "nvrar", "--sizes", "64", "-n", 5, "-w", 0)
    done = run_command(*words, "--launches", 2, "--json", path)
    assert (done.code, messages(done.stderr)) == (0, [])
    assert done.stdout.count("# nvrar-bench ") == 1
    assert [result["launch_samples"] for result in read(path)["results"]] == [[5, 5]]


def test_a_mistake_that_the_ranks_find_ends_the_first_launch(run_command: Any, tmp_path: Path):
    path = tmp_path / "all.json"
    path.write_text("{}")
    done = run_command(*SWEEP, "--sizes", "900G", "--launches", 2, "--json", path)
    assert done.code == 2
    assert "--sizes" in one_error(done.stderr)
    assert (path.read_text(), done.stdout) == ("{}", "")


@pytest.mark.parametrize(
    ("words", "texts"),
    [
        (["--launches", 0, "--ranks", 2], ["--launches 0", "1 to 1000"]),
        (["--launches", 1001, "--ranks", 2], ["--launches 1001", "1 to 1000"]),
        (["--launches", "two"], ["--launches", "two", "whole number"]),
        (["--launches", 3], ["--launches 3", "--ranks N", "--virtual-ranks N"]),
        (["--launches", 3, "--ranks", 2, "--nodes", 3], ["--nodes 3", "1, 2"]),
        (["--max-launches", 3, "--ranks", 2], ["--max-launches 3", "--launches N, 2 or more"]),
        (["--launches", 3, "--max-launches", 2], ["--max-launches 2", "3, the --launches,"]),
        (["--launches", 3, "--max-launches", 1001], ["--max-launches 1001", "to 1000"]),
        (["--launches", 2, "--ranks", 2, "--json", "no/a.json"], ["--json", "no/a.json"]),
    ],
)
def test_mistakes_are_found_before_the_first_launch(run_command: Any, words: Any, texts: Any):
    done = run_command("sweep", *words)
    message = one_error(done.stderr)
    assert (done.code, done.stdout) == (2, "")
    assert [text for text in texts if text not in message] == [], message
    assert "] launch" not in done.stderr


@pytest.mark.parametrize("ranks", [[], ["--ranks", 2]])
def test_inside_mpirun(run_mpirun: Any, ranks: list[Any]):
    done = run_mpirun(2, "sweep", "--backend", "fake", *ranks, "--launches", 3)
    (message,) = set(messages(done.stderr))  # of each process: none of them is a rank
    assert (done.code, done.stdout) == (2, "")
    assert "--launches 3" in message
    assert "nvrar-bench merge run1.json" in message


# ---- without mpirun ----------------------------------------------------------------------------


def _record(status: Any = "complete") -> RunRecord:
    made = RunRecord.begin(
        command=["sweep"], version="0", settings={"seed": 0},
        topology=Topology(1, 1, 1, False, (RankPlace(0, "here", 0, 0, None),)), environment={},
    )  # fmt: skip
    return made.finished(status) if status != "unfinished" else made


def _repeated(
    path: Path, launches: int, start: Any, monkeypatch: pytest.MonkeyPatch, stopped: Any = bool,
    most: int | None = None,
) -> int:  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["nvrar-bench", "sweep", "--launches", str(launches)])
    monkeypatch.setenv(repeat.LAUNCH, "")
    repetition = repeat._Repetition(
        Wanted(launches, most), Writer(path), path.parent, Shown("table")
    )
    with repetition.closing():
        return repetition.run(start, stopped)


def _start(*ends: tuple[int, RunRecord | None]) -> Callable[[list[str]], int]:
    """Launches that end with these codes and leave these records."""
    rest = iter(ends)

    def start(words: list[str]) -> int:
        code, record = next(rest)
        assert words[:2] == ["sweep", "--json"]
        if record is not None:
            Path(words[2]).write_text(encode(record))
        return code

    return start


@pytest.mark.parametrize(
    ("end", "status", "error"),
    [
        ((4, None), "failed", "LostRank"),  # a rank died before the first case
        ((4, _record("unfinished")), "failed", "LostRank"),  # rank 0 was killed
        ((4, _record()), "failed", "LostRank"),  # it died after its last word
        ((130, None), "interrupted", "Interrupted"),
        ((1, None), "failed", "NvrarBenchError"),
    ],
)
def test_a_launch_that_says_nothing_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: Any, status: str, error: str
):
    path = tmp_path / "all.json"
    code = _repeated(path, 3, _start((0, _record()), end), monkeypatch)
    record = read(path)
    assert (code, record["run"]["status"], record["settings"]["launches"]) == (end[0], status, 2)
    assert [each["type"] for each in record["errors"]] == [error]
    assert record["errors"][0]["message"].startswith("launch 2: it ended with exit code")
    assert record["run"]["finished_at"] is not None


def test_a_signal_between_two_launches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path, asked = tmp_path / "all.json", iter([False, True])
    code = _repeated(path, 3, _start((0, _record())), monkeypatch, lambda: next(asked))
    record = read(path)
    assert (code, record["run"]["status"], record["settings"]["launches"]) == (
        130,
        "interrupted",
        1,
    )
    assert [each["type"] for each in record["errors"]] == ["Interrupted"]


@pytest.mark.parametrize("error", [NvrarBenchError("no"), OSError("no")])
def test_what_ended_is_kept_when_a_launch_cannot_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
):
    path, first = tmp_path / "all.json", _start((0, _record()))

    def start(words: list[str]) -> int:
        if path.exists():
            raise error
        return first(words)

    with pytest.raises(type(error)):
        _repeated(path, 3, start, monkeypatch)
    record = read(path)
    assert (record["run"]["status"], record["settings"]["launches"]) == ("failed", 1)
    assert [each["message"] for each in record["errors"]] == ["the run ended after launch 1: no"]


def _launches(*work_us: float | None, one_state: bool = True) -> list[tuple[int, RunRecord | None]]:
    """Launches of two points; the yardstick of the first differs, that of the second does not."""
    times = [[10.0] * 30]
    points = [[samples.result(times, stretches=samples.states(times, us))] for us in work_us]
    calm = samples.result(times, 8192, stretches=samples.states(times, 3.0))
    return [
        (0, samples.record(*point, calm, run_id=f"{number:032x}", one_state=one_state))
        for number, point in enumerate(points)
    ]


CALM, BUSY = 3.0, 4.5


@pytest.mark.parametrize(
    ("work_us", "taken", "shared"),
    [
        ([CALM, CALM, CALM], 3, 3),
        ([CALM, BUSY, CALM, BUSY, CALM], 5, 3),
        ([BUSY, BUSY, CALM, BUSY], 4, 3),  # the fast state has too few launches to be chosen
        ([CALM, BUSY, CALM, BUSY, BUSY, BUSY], 6, 4),
        ([CALM, BUSY, CALM, BUSY, 7.0, 9.0], 6, 2),
        ([None, CALM, BUSY], 3, 3),  # one without a yardstick: no state can be told
    ],
)
def test_launches_go_on_until_enough_share_a_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work_us: Any, taken: int, shared: int
):
    path = tmp_path / "all.json"
    code = _repeated(path, 3, _start(*_launches(*work_us)), monkeypatch, most=6)
    record = read(path)
    first, calm = record["results"]
    assert (code, record["run"]["status"], record["settings"]["launches"]) == (0, "complete", taken)
    assert [len(first["launch_samples"]), len(first["launches"]["medians_us"])] == [taken, shared]
    told = [text for text in first["warnings"] if text.startswith("launches: ")]
    wish = f"launches: {shared} of 6 found the machine in one state, --launches 3 were asked for"
    assert [text[: len(wish)] for text in told] == ([wish] if shared < 3 else [])
    assert not any(text.startswith("launches: ") for text in calm["warnings"])


def test_states_are_not_asked_for_without_a_maximum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "all.json"
    assert (
        _repeated(path, 3, _start(*_launches(CALM, BUSY, 7.0, one_state=False)), monkeypatch) == 0
    )
    assert "were asked for" not in path.read_text()


def test_no_state_for_long_is_no_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Each stretch found the machine in another state: the figure is of all, and is not enough."""
    path, times = tmp_path / "all.json", [[10.0] * 10 for _ in range(10)]
    ends: list[tuple[int, RunRecord | None]] = []
    for number in range(3):
        stretches = samples.states(times, *(3.0 * 1.2 ** (i + 10 * number) for i in range(10)))
        restless = samples.result([[10.0] * 100], stretches=stretches)
        ends.append((0, samples.record(restless, run_id=f"{number:032x}", one_state=True)))
    assert _repeated(path, 2, _start(*ends), monkeypatch, most=3) == 0
    (result,) = read(path)["results"]
    assert "launches: 0 of 3 found the machine in one state" in "".join(result["warnings"])


def test_a_launch_that_cannot_be_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path, first = tmp_path / "all.json", _record()
    other = replace(_record(), settings={"seed": 0, "iters": 3})
    with pytest.raises(
        UsageError, match=r"launch 2 cannot be merged with launch 1: settings\.iters"
    ):
        _repeated(path, 3, _start((0, first), (0, other)), monkeypatch)
    record = read(path)
    assert (record["run"]["status"], record["settings"]["launches"]) == ("failed", 1)


def test_a_launch_without_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "all.json"
    with pytest.raises(NvrarBenchError, match="launch 1 left no record"):
        _repeated(path, 3, _start((0, None)), monkeypatch)
    assert _repeated(path, 3, _start((4, None)), monkeypatch) == 4
    assert not path.exists()
