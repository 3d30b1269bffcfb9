"""Standard output that is full, closed, slow or gone, for every command that prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from output import ERROR, messages

from nvrar_bench.documents.run_file import encode
from tests.statistics.records import TWICE, record, result

FAKE = "--backend fake --sizes 64 -n 3 -w 0"
LINES = [
    "--help",
    "report --help",
    "--version",
    "schema",
    "env",
    "report run.json",
    "report run.json --format html",
    "report run.json --json -",
    "compare run.json run.json",
    "compare run.json run.json --json -",
    "merge run.json",
    f"sweep {FAKE}",
    f"sweep {FAKE} --json -",
    f"sweep --ranks 2 {FAKE}",
    f"sweep --ranks 2 {FAKE} --json -",
    "sweep --virtual-ranks 2 --fabric loopback --launches 2 --backend nvrar --sizes 64 -n 3 -w 0",
    "check --backend fake --soak 3",
    "compile --arch sm_80 --dtype float32 --op sum --protocol signal --fabric loopback",
]
# Compiling takes seconds, and prints as the others do.
MARKED = [
    pytest.param(line, marks=[pytest.mark.slow] * line.startswith("compile")) for line in LINES
]
COMMAND = [sys.executable, "-m", "nvrar_bench"]


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel_cache: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NVRAR_BENCH_CACHE", str(kernel_cache))
    Path("run.json").write_text(encode(record(result(TWICE))))


def _shell(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `line` in a shell, in which `$C` is the command."""
    return subprocess.run(
        ["bash", "-c", line],
        env={**os.environ, **environment, "C": " ".join(COMMAND)},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("line", MARKED)
def test_a_full_disk(line: str):
    done = _shell(f"$C {line} > /dev/full", PYTHONUNBUFFERED="1" if "json" in line else "")
    error = _last_error(done.stderr)
    assert done.returncode == 1, done.stderr
    assert "standard output cannot be written: No space left on device" in error


@pytest.mark.parametrize("line", LINES[::2])
def test_closed_standard_output(line: str):
    done = _shell(f"$C {line} >&-")
    assert done.returncode == 1, done.stderr
    assert "standard output cannot be written: it is closed" in _last_error(done.stderr)


def _last_error(stderr: str) -> str:
    assert "Traceback" not in stderr, stderr
    errors = [line for line in stderr.splitlines() if line.startswith(ERROR)]
    assert len(errors) == 1, stderr
    return errors[0]


def test_a_record_is_written_though_standard_output_is_closed():
    done = _shell(f"$C sweep --ranks 2 {FAKE} --json x.json >&-")
    assert done.returncode == 1
    assert json.loads(Path("x.json").read_text())["run"]["status"] == "complete"


@pytest.mark.parametrize(
    "where",
    [
        ">&- 2>&-",
        *(pytest.param(one, marks=pytest.mark.slow) for one in ("2>&-", "2>/dev/full", "<&-")),
    ],
)
def test_nobody_can_read_the_messages(where: str):
    done = _shell(f"$C sweep --ranks 2 {FAKE} --json x.json {where}")
    assert done.returncode == (1 if ">&- 2" in where else 0), done.stderr
    assert json.loads(Path("x.json").read_text())["run"]["status"] == "complete"


@pytest.mark.parametrize("where", ["2>&-", "2>/dev/full"])
@pytest.mark.parametrize(("line", "code"), [("report nosuch", 2), ("report run.json", 0)])
def test_the_exit_code_stays_though_nobody_can_read_the_message(line: str, code: int, where: str):
    assert _shell(f"$C {line} {where}").returncode == code


@pytest.mark.parametrize("line", MARKED[1::2])
def test_a_reader_that_has_gone(line: str):
    done = _shell(f"set -o pipefail; $C {line} | true")
    assert done.returncode in (0, 1)  # 0 where all was in the pipe before its reader went
    assert messages(done.stderr) == []


@pytest.mark.parametrize("unbuffered", ["", pytest.param("1", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "line", ["report run.json --format html", f"sweep --ranks 2 {FAKE} --json -"]
)
def test_a_pipe_that_another_program_made_non_blocking(line: str, unbuffered: str):
    wanted = _shell(f"$C {line}").stdout
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with subprocess.Popen([*COMMAND, *line.split()], stdout=writing, env=environment) as process:
        _fill(writing)
        os.close(writing)
        time.sleep(1.0)
        with os.fdopen(reading, "rb") as file:
            found = file.read().lstrip(b" ").decode()
    assert process.returncode == 0
    assert found.count("\n") == wanted.count("\n")
    assert found.splitlines()[-1] == wanted.splitlines()[-1]


def _fill(descriptor: int) -> None:
    """Fill a pipe to its last byte."""
    try:
        while True:
            os.write(descriptor, b" " * 4096)
    except BlockingIOError:
        return


def test_under_mpirun_a_run_and_its_table_come_whole(run_mpirun: Callable[..., Any]):
    done = run_mpirun(
        2, "sweep", *FAKE.split(), "--json", "-", environment={"PYTHONUNBUFFERED": "1"}
    )
    assert done.record()["run"]["status"] == "complete"
