"""A user's mistake: one message that names the option, the value and what is allowed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from output import messages, one_error

SWEEP = "[[sweep]]\nname = 'one'\nsizes = [64]\n"
FILES = {
    "malformed.toml": "[[sweep]\nname =",
    "binary.toml": "\xff",
    "key.toml": SWEEP + "colour = 'red'\n",
    "value.toml": SWEEP + "dtype = 'float31'\n",
    "backend.toml": SWEEP + "backends = ['nosuch']\n",
    "empty.toml": "",
    "read-only.json": "{}",
}

# What follows `sweep`, the exit code, and texts that the message must hold.
MISTAKES: list[tuple[str, int, list[str]]] = [
    ("--nosuch", 2, ["--nosuch"]),
    ("-q", 2, ["-q"]),
    ("extra", 2, ["extra"]),
    ("--min", 2, ["--min"]),
    ("--dtype float31", 2, ["--dtype", "float31", "bfloat16", "uint64", "all"]),
    ("--dtype float32,", 2, ["--dtype", "''", "bfloat16"]),
    ("--op mean", 2, ["--op", "mean", "sum", "avg"]),
    ("--buffers foo", 2, ["--buffers", "foo", "symmetric", "private"]),
    ("--protocol foo", 2, ["--protocol", "foo", "auto", "signal", "packet"]),
    ("--check-mode foo", 2, ["--check-mode", "foo", "exact", "rounding"]),
    ("--min 2M --max 128K", 2, ["--min", "2M", "--max", "128K"]),
    ("--min 3G", 2, ["--min", "3G", "--max", "2M"]),
    ("--min 0", 2, ["--min", "0", "1 byte and more"]),
    ("--max 1Q", 2, ["--max", "1Q", "128K"]),
    ("--min 1", 2, ["--min", "1", "float32", "4 bytes"]),
    ("--factor 1", 2, ["--factor", "1.0", "above 1"]),
    ("--factor nan", 2, ["--factor", "nan", "above 1"]),
    ("--factor two", 2, ["--factor", "two", "number"]),
    ("--factor 2 --step 1K", 2, ["--factor", "--step"]),
    ("--step 0", 2, ["--step", "0", "1 byte and more"]),
    ("--step 1 --max 1M", 2, ["--step", "1", "4096"]),
    ("--iters 0", 2, ["--iters", "0", "1 to"]),
    ("--iters 1.5", 2, ["--iters", "1.5", "whole number"]),
    ("--warmup -1", 2, ["--warmup", "-1", "0 to"]),
    ("--sizes 1,x", 2, ["--sizes", "x", "128K"]),
    ("--sizes ", 2, ["--sizes", "''", "128K"]),
    ("--sizes 1K --min 1K", 2, ["--sizes", "--min"]),
    ("--sizes 900G", 2, ["--sizes", "900G", "memory", "allowed"]),
    ("--nodes 3", 2, ["--nodes", "3", "1"]),
    ("--nodes 0", 2, ["--nodes", "0", "1 up"]),
    ("--ranks 4 --nodes 3", 2, ["--nodes", "3", "4 ranks", "1, 2, 4"]),
    ("--ranks 0", 2, ["--ranks", "0", "1 to"]),
    ("--timeout 0", 2, ["--timeout", "0", "more than 0"]),
    ("--timeout nan", 2, ["--timeout", "nan", "more than 0"]),
    ("--seed -1", 2, ["--seed", "-1", "0 to"]),
    ("--backend nosuch", 2, ["--backend", "nosuch", "nccl", "mpi", "nvrar", "fake"]),
    ("--backend nccl", 5, ["--backend", "nccl", "not available"]),
    ("--device cuda", 5, ["--device", "cuda", "not available", "cpu"]),
    ("--device x", 2, ["--device", "x", "auto", "cpu", "cuda"]),
    ("--json missing/run.json", 2, ["--json", "missing/run.json", "existing folder"]),
    ("--json .", 2, ["--json", "folder"]),
    ("--json /proc/version", 2, ["--json", "/proc/version", "allowed"]),
    ("--json /dev/null", 2, ["--json", "/dev/null", "regular file"]),
    ("--json read-only.json/run.json", 2, ["--json", "read-only.json", "allowed"]),
    ("--case nosuch", 2, ["--case", "nosuch", "smoke", "correctness"]),
    ("--case missing.toml", 2, ["--case", "missing.toml", "No such file"]),
    ("--case malformed.toml", 2, ["--case", "malformed.toml", "TOML"]),
    ("--case binary.toml", 2, ["--case", "binary.toml", "TOML"]),
    ("--case key.toml", 2, ["--case", "key.toml", "colour", "allowed", "dtype"]),
    ("--case value.toml", 2, ["--case", "value.toml", "dtype", "float31", "bfloat16"]),
    ("--case backend.toml", 2, ["--case", "backend.toml", "nosuch", "nvrar"]),
    ("--case empty.toml", 2, ["--case", "empty.toml", "[[sweep]]"]),
    ("--case smoke --dtype float32", 2, ["--case", "--dtype"]),
]
# One for each place in which a mistake is found: not again what other rows go through.
UNDER_MPIRUN = [
    "--nosuch",
    "--dtype float31",
    "--sizes 900G",
    "--nodes 3",
    "--backend nccl",
    "--device cuda",
    "--json missing/run.json",
    "--case key.toml",
]


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_bytes(text.encode("latin-1"))
    monkeypatch.chdir(tmp_path)


def _words(line: str) -> list[str]:
    return ["sweep", *line.split(" ")]


def _require(done: Any, code: int, texts: list[str]) -> None:
    message = one_error(done.stderr)
    assert done.code == code, message
    assert [text for text in texts if text not in message] == [], message
    assert done.stdout == ""


@pytest.mark.parametrize(("line", "code", "texts"), MISTAKES, ids=[row[0] for row in MISTAKES])
def test_alone(run_command: Callable[..., Any], line: str, code: int, texts: list[str]):
    _require(run_command(*_words(line)), code, texts)


@pytest.mark.parametrize("line", UNDER_MPIRUN)
def test_under_mpirun(run_mpirun: Callable[..., Any], line: str):
    code, texts = next((code, texts) for each, code, texts in MISTAKES if each == line)
    if line == "--nodes 3":
        texts = ["--nodes", "3", "2 ranks", "1, 2"]
    _require(run_mpirun(2, *_words(line)), code, texts)


@pytest.mark.parametrize(
    "line",
    [
        "--nodes 3",
        "--sizes 900G",
        *(pytest.param(one, marks=pytest.mark.slow) for one in ("--backend nccl", "--device cuda")),
    ],
)
def test_with_ranks(run_command: Callable[..., Any], line: str):
    """Found by the ranks, or by what starts them: it looks the same."""
    code, texts = next((code, texts) for each, code, texts in MISTAKES if each == line)
    _require(run_command(*_words(f"--ranks 4 {line}")), code, texts)


def test_nothing_is_written_where_the_record_would_go(run_command: Callable[..., Any]):
    done = run_command("sweep", "--op", "mean", "--json", "run.json")
    one_error(done.stderr)
    assert not Path("run.json").exists()


def test_the_old_record_survives_a_mistake(run_command: Callable[..., Any]):
    Path("run.json").write_text("{}")
    done = run_command("sweep", "--nodes", 3, "--json", "run.json")
    assert done.code == 2
    assert Path("run.json").read_text() == "{}"


def test_ranks_inside_mpirun(run_mpirun: Callable[..., Any]):
    """Neither process is a rank, so each may speak, unless mpirun ends it before."""
    done = run_mpirun(2, "sweep", "--ranks", 2, "--backend", "fake", "--sizes", "64")
    said = messages(done.stderr)
    assert len(set(said)) == 1, done.stderr
    assert "--ranks 2 starts mpirun itself" in said[0]
    assert (done.code, done.stdout) == (2, "")


@pytest.mark.parametrize("text", ["wrong=x", "colour=3", "wrong", "hang=1.5"])
def test_script_of_the_fake_backend(run_command: Callable[..., Any], text: str):
    done = run_command(
        "sweep", "--backend", "fake", "--sizes", "64", environment={"NVRAR_BENCH_FAKE": text}
    )
    message = one_error(done.stderr)
    assert done.code == 2
    assert "NVRAR_BENCH_FAKE" in message
    assert text in message


@pytest.mark.parametrize("words", [("sweep", "--backend"), ("check", "--case")])
def test_a_value_of_two_lines(run_command: Callable[..., Any], words: tuple[str, ...]):
    done = run_command(*words, "two\nlines")
    assert done.code == 2
    assert "lines" in one_error(done.stderr)


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_split_job_is_refused(run_command: Callable[..., Any], rank: str):
    """As by the mpirun of another MPI: every rank believes that it is alone."""
    split = {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": rank}
    words = ("sweep", "--backend", "fake", "--sizes", "64", "-n", "1")
    done = run_command(*words, environment=split)
    _require(done, 2, ["4 ranks", "MPI_COMM_WORLD has 1", "Remedy", "--ranks 4"])


def test_no_mpi_library(run_command: Callable[..., Any]):
    done = run_command("sweep", "--sizes", "64", environment={"MPI4PY_LIBMPI": "/nosuch.so"})
    message = one_error(done.stderr)
    assert done.code == 5
    assert "no MPI library" in message
    assert "pip install" in message
