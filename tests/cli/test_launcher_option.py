"""`--launcher CMD`: the user's own command starts the ranks, as `--ranks N` does."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any

import pytest

from nvrar_bench.launch import flavours

SWEEP = ("sweep", "--backend", "fake,mpi", "--sizes", "64", "-n", "20", "-w", "2")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> str:
    """What starts two ranks of this MPI."""
    flavour, program = flavours.find()
    for name, value in flavour.settings(2).items():
        monkeypatch.setenv(name, os.environ.get(name, value))
    return shlex.join([program, "-n", "2"])


def test_it_starts_the_ranks(run_command: Any, command: str):
    done = run_command(*SWEEP, "--launcher", command, "--json", "-")
    assert done.code == 0, done.stderr
    record = done.record()
    assert record["topology"]["ranks"] == 2
    assert [result["backend"] for result in record["results"]] == ["fake", "mpi"]


def test_it_starts_every_launch(run_command: Any, command: str, tmp_path: Path):
    path = tmp_path / "all.json"
    words = ("--launcher", command, "--launches", "2", "--json", path)
    done = run_command(*SWEEP, *words, folder=tmp_path)
    assert done.code == 0, done.stderr
    record = json.loads(path.read_text())
    assert {len(result["launch_samples"]) for result in record["results"]} == {2}
    assert [one.name for one in tmp_path.iterdir()] == ["all.json"]  # nothing else is left


def test_an_exit_code_of_the_ranks_is_that_of_the_command(run_command: Any, command: str):
    variables = {"NVRAR_BENCH_FAKE": "wrong=3"}
    done = run_command(*SWEEP, "--launcher", command, environment=variables)
    assert done.code == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--launcher", "nosuchrun -n 2"), "'nosuchrun' is no program on PATH"),
        (("--launcher", "mpirun 'a"), "No closing quotation"),
        (("--launcher", ""), "'' is no program on PATH"),
        (("--launcher", "env", "--ranks", "2"), "--ranks 2 and --launcher exclude each other"),
    ],
)
def test_what_cannot_start_is_refused(run_command: Any, words: tuple[str, ...], said: str):
    done = run_command(*SWEEP, *words)
    assert done.code == 2
    assert said in " ".join(done.stderr.split())


def test_a_command_that_starts_nothing_is_named(run_command: Any):
    done = run_command(*SWEEP, "--launcher", "false")
    assert done.code == 1
