"""Runs that end badly under --ranks, and by signals. Nothing is left but the record.

What one rank does wrong, at every moment and under mpirun, is in test_fault_matrix.py.

The fixtures check after each test that no process is alive and that /dev/shm holds nothing new.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pexpect
import pytest
from broken import ALL
from output import messages, one_error, one_message, read

# First a case that ends at once, then one that does not end by itself.
ENDLESS = """
[[sweep]]
name = "short"
sizes = [64]
iters = 5
warmup = 0
backends = ["mpi", "nvrar"]

[[sweep]]
name = "endless"
sizes = [256]
iters = 5_000_000
warmup = 0
backends = [{backends}]
"""
HERE = Path(__file__).parent
FINISHED = [("mpi", 64), ("nvrar", 64)]
HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
SOON_S = (
    40.0  # from the fault, or from the deadline of a wait, to the end of all; a wait takes 60 s
)


@pytest.fixture(scope="module", autouse=True)
def _kernels(kernel_cache: Path) -> None:
    """Compile ahead: these tests have short deadlines."""
    sweep = ["sweep", "--sizes", "64", "-n", "1", "-w", "0"]
    command = [sys.executable, "-m", "nvrar_bench", *sweep]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def words(tmp_path: Path) -> Callable[..., list[Any]]:
    """`words("mpi")`: a sweep whose second case runs on these backends for good."""

    def make(*backends: str) -> list[Any]:
        names = ", ".join(f'"{name}"' for name in backends or ("mpi", "nvrar"))
        case = tmp_path / "endless.toml"
        case.write_text(ENDLESS.format(backends=names))
        return ["sweep", "--case", case, "--json", tmp_path / "run.json"]

    return make


def _require_record(path: Path, status: str, error: str | None) -> None:
    record = read(path)
    assert [(r["backend"], r["size_bytes"]) for r in record["results"]] == FINISHED
    assert all(r["check"]["status"] == "passed" for r in record["results"])
    assert record["run"]["status"] == status
    if error is not None:
        assert [each["type"] for each in record["errors"]] == [error]
        assert record["errors"][0]["message"]
        assert record["run"]["finished_at"] >= record["run"]["started_at"]
    assert sorted(each.name for each in path.parent.iterdir()) == ["endless.toml", "run.json"]


def _in_the_middle(job: Any, path: Path) -> None:
    job.wait_for_results(path, len(FINISHED))
    time.sleep(0.5)  # into the second case


@pytest.mark.parametrize("rank", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_killed_rank(start: Any, words: Any, tmp_path: Path, rank: int):
    job = start(*words(), "--ranks", 4)
    _in_the_middle(job, tmp_path / "run.json")
    job.send(job.rank(rank), signal.SIGKILL)
    done = job.end(SOON_S)
    message = one_message(done.stderr)
    assert done.code == 4, message
    assert f"rank {rank} " in message
    assert "SIGKILL" in message
    if rank == 0:  # who would have closed the record is gone
        _require_record(tmp_path / "run.json", "interrupted", None)
    else:
        _require_record(tmp_path / "run.json", "failed", "ReportedLoss")


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, pytest.param(signal.SIGSEGV, marks=pytest.mark.slow)]
)
def test_killed_launcher(start: Any, words: Any, tmp_path: Path, number: signal.Signals):
    job = start(*words(), "--ranks", 2)
    _in_the_middle(job, tmp_path / "run.json")
    job.send(job.launcher(), number)
    done = job.end(SOON_S)
    message = one_error(done.stderr)
    assert done.code == 4, message
    assert f", which started the ranks, was killed by {number.name}: " in message


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM]
)
def test_signal(start: Any, words: Any, tmp_path: Path, number: signal.Signals):
    job = start(*words(), "--ranks", 4)
    _in_the_middle(job, tmp_path / "run.json")
    job.send(job.first(), number)
    done = job.end(SOON_S)
    assert done.code == 130
    assert "interrupted" in one_message(done.stderr)
    _require_record(tmp_path / "run.json", "interrupted", "Interrupted")


def test_sigterm_to_mpirun(start_mpirun: Any, words: Any, tmp_path: Path):
    job = start_mpirun(4, *words())
    _in_the_middle(job, tmp_path / "run.json")
    job.send(job.launcher(), signal.SIGTERM)
    done = job.end(SOON_S)
    assert done.code != 0  # it is mpirun's own
    assert "Traceback" not in done.stderr
    assert len(messages(done.stderr)) <= 1, done.stderr  # Open MPI drops what stopped ranks say
    _require_record(tmp_path / "run.json", "interrupted", "Interrupted")


def _at_a_terminal(command: list[str], processes: Any, path: Path) -> pexpect.spawn:
    environment = {**os.environ, **processes.environment}
    child = pexpect.spawn(
        command[0], command[1:], env=environment, encoding="utf-8", dimensions=(40, 120)
    )
    end = time.monotonic() + 60
    while not (path.exists() and len(read(path)["results"]) == 2):
        assert time.monotonic() < end
        time.sleep(0.1)
    time.sleep(0.5)
    return child


@pytest.mark.parametrize("how", ["--ranks", "mpirun"])
def test_ctrl_c_at_a_terminal(mpirun: Any, processes: Any, words: Any, tmp_path: Path, how: str):
    alone = [sys.executable, "-m", "nvrar_bench", *map(str, words()), "--ranks", "4"]
    command = alone if how == "--ranks" else mpirun(4, *words())
    child = _at_a_terminal(command, processes, tmp_path / "run.json")
    child.sendintr()
    child.expect(pexpect.EOF, timeout=SOON_S)
    child.close()
    seen = child.before
    assert "Traceback" not in seen
    if how == "--ranks":
        told = seen.count("interrupted (") - seen.count("error: Interrupted: the run")
        assert (child.exitstatus, told) == (130, 1), seen  # beside the line below the table
        assert seen.rfind(SHOW_CURSOR) >= seen.rfind(HIDE_CURSOR), seen
    else:
        assert (child.exitstatus, child.signalstatus) != (0, None)
        assert seen.count("nvrar-bench: error:") <= 1, seen
    _require_record(tmp_path / "run.json", "interrupted", "Interrupted")


@pytest.mark.parametrize("ranks", [1, 4])
@pytest.mark.parametrize("moment", ["start-up", "opening"])
def test_what_all_ranks_raise_is_said_once(
    run_words: Any, mpirun: Any, mpirun_environment: Any, moment: str, ranks: int
):
    whole = mpirun(ranks, "sweep", "--backend", "fake", "--sizes", "64")
    words = [*whole[:4], str(HERE / "broken.py"), moment, "raises", str(ALL), *whole[6:]]
    done = run_words(words, environment=mpirun_environment())
    assert done.code == 1
    assert "unexpected RuntimeError: two lines, on rank " in one_error(done.stderr)


def test_no_escape_sequences_where_mpirun_gives_a_terminal(run_mpirun: Any):
    """Open MPI's does, also where the user has a file."""
    quick = ["sweep", "--backend", "fake", "--sizes", "64", "-n", "2", "-w", "0"]
    done = run_mpirun(1, *quick, "--ranks", 2)
    assert done.code == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr


def test_hang(start: Any, words: Any, tmp_path: Path):
    """The last rank never returns from its fifth call; the others wait for it, for the timeout."""
    job = start(*words("fake"), "--timeout", 10, "--ranks", 3, fake="hang=5")
    job.wait_for_results(tmp_path / "run.json", len(FINISHED))
    done = job.end(10.0 + SOON_S)
    message = one_error(done.stderr)
    assert done.code == 4, message
    assert "waited" in message
    assert "endless" in message
    assert f"rank 2 on host {socket.gethostname()} (pid " in message
    _require_record(tmp_path / "run.json", "failed", "TimedOut")
