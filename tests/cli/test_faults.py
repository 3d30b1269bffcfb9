"""Runs that end badly: a killed rank, Ctrl-C, a hang. Nothing is left but the record.

The fixtures check after each test that no process is alive and that /dev/shm holds nothing new.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pexpect
import pytest
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
FINISHED = [("mpi", 64), ("nvrar", 64)]
HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
SOON_S = 10.0  # from the fault, or from the deadline of a wait, to the end of everything


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


@pytest.mark.parametrize("rank", [0, 2])
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


def test_killed_rank_under_mpirun(start_mpirun: Any, words: Any, tmp_path: Path):
    job = start_mpirun(4, *words())
    _in_the_middle(job, tmp_path / "run.json")
    job.send(job.rank(3), signal.SIGKILL)
    done = job.end(SOON_S)
    message = one_message(done.stderr)
    assert done.code == 4, message
    assert "rank 3 " in message
    _require_record(tmp_path / "run.json", "failed", "ReportedLoss")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
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


@pytest.mark.parametrize("how", ["--ranks", "mpirun"])
def test_hang(start: Any, start_mpirun: Any, words: Any, tmp_path: Path, how: str):
    """The last rank never returns from its fifth call; the others wait for it, for two seconds."""
    sweep = [*words("fake"), "--timeout", 2]
    if how == "--ranks":
        job = start(*sweep, "--ranks", 4, fake="hang=5")
    else:
        job = start_mpirun(4, *sweep, fake="hang=5")
    job.wait_for_results(tmp_path / "run.json", len(FINISHED))
    done = job.end(2.0 + SOON_S)
    message = one_error(done.stderr)
    assert done.code == 4, message
    assert "waited" in message
    assert "endless" in message
    _require_record(tmp_path / "run.json", "failed", "TimedOut")


def test_a_rank_that_never_starts(run_words: Any, mpirun: Any, processes: Any, tmp_path: Path):
    """The wait for the other ranks in MPI_Init has the same deadline as any other."""
    path = tmp_path / "run.json"
    words = ["sweep", "--sizes", "64", "--timeout", 2, "--json", path]
    late = '[ "${OMPI_COMM_WORLD_RANK:-$PMI_RANK}" = 1 ] && exec sleep 30; exec "$@"'
    whole = mpirun(2, *words)
    command = [*whole[:3], "sh", "-c", late, "late", *whole[3:]]
    began = time.monotonic()
    done = run_words(command, environment=processes.environment, timeout=90.0)
    message = one_error(done.stderr)
    assert done.code in (4, 255), message  # 255: Hydra's own, because it killed the late one
    assert "MPI start-up" in message
    assert time.monotonic() - began < 2.0 + SOON_S
    assert not path.exists()


@pytest.mark.parametrize("rank", [0, 1])
def test_a_fault_of_our_own(run_words: Any, mpirun: Any, processes: Any, tmp_path: Path, rank: int):
    path = tmp_path / "run.json"
    words = ("--backend", "fake", "--sizes", "64,128", "-n", 2, "-T", 15, "--json", path)
    whole = mpirun(2, "sweep", *words)
    command = [*whole[:4], str(Path(__file__).with_name("broken.py")), *whole[6:]]
    environment = {**processes.environment, "BROKEN_RANK": str(rank)}
    done = run_words(command, environment=environment)
    assert done.code == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.count("nvrar-bench: error: unexpected RuntimeError: two") == 1
    assert "NVRAR_BENCH_TRACEBACK=1" in done.stderr
    record = read(path)
    assert [result["size_bytes"] for result in record["results"]] == [64]
    assert record["run"]["status"] == "failed"
    assert record["run"]["finished_at"] is not None
    assert len(record["errors"]) == 1
