"""Jobs under the launcher that is beside this Python, whichever MPI that is."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nvrar_bench.launch.flavours import FLAVOURS

HERE = Path(__file__).parent
_FIND = """
import json
from nvrar_bench.launch import flavours, launcher
flavour, program = flavours.find()
print(json.dumps([flavour.name, program, launcher._environment(flavour, program, 16)]))
"""


@functools.cache
def _found() -> tuple[str, str, dict[str, str]] | None:
    done = subprocess.run([sys.executable, "-c", _FIND], capture_output=True, text=True)
    return tuple(json.loads(done.stdout)) if done.returncode == 0 else None


def _wait_until(true: Callable[[], bool], seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    return true()


def own_folder(folder: Path) -> dict[str, str]:
    """What `--ranks` gives mpirun too: its own files of an earlier run may not be in its way."""
    return {row.folder: str(folder) for row in FLAVOURS if row.folder}


class Job:
    """worker.py on some ranks: `how` and `who` are its arguments.

    Started by --ranks (`via="ranks"`), by mpirun as a user does (`"mpirun"`) or alone (`"alone"`).
    """

    def __init__(self, folder: Path, ranks: int, how: str, who: int, via: str) -> None:
        flavour, program, environment = _found()
        self.flavour, self.folder, self.ranks = flavour, folder, ranks
        worker = [sys.executable, str(HERE / "worker.py"), str(folder), how, str(who)]
        before = {
            "ranks": [sys.executable, str(HERE / "start.py"), str(ranks)],
            "mpirun": [program, "-n", str(ranks)],
            "alone": [],
        }[via]
        self.process = subprocess.Popen(
            before + worker,
            env=environment | own_folder(folder) if via == "mpirun" else None,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait_for_ranks(self) -> None:
        """Wait until every rank is past MPI_Init and in its barrier."""
        assert _wait_until(lambda: all(self.pids(rank) for rank in range(self.ranks)))
        time.sleep(0.2)

    def pids(self, rank: int) -> list[int]:
        """The rank's pid and its supervisor's; empty before MPI_Init."""
        path = self.folder / f"pid-{rank}"
        return [int(pid) for pid in path.read_text().split()] if path.exists() else []

    def end(self, seconds: float = 100.0) -> int:
        """Wait for the end, see that nothing is left, and return the exit code."""
        self.stderr = self.process.communicate(timeout=seconds)[1]
        assert _wait_until(lambda: not self.alive(), 30.0), self.alive()
        return self.process.returncode

    def alive(self) -> list[str]:
        """Command lines of the processes of this job; the folder's name is in each."""
        return [line for line in _command_lines() if str(self.folder) in line]

    def record(self, rank: int) -> str:
        path = self.folder / f"rank-{rank}"
        return path.read_text() if path.exists() else ""

    def segments(self) -> list[str]:
        """Files in /dev/shm that the ranks had mapped and that are still there."""
        lists = [path.read_text().split() for path in self.folder.glob("shm-*")]
        return [name for names in lists for name in names if Path(name).exists()]

    def kill(self) -> None:
        for pid in [pid for rank in range(self.ranks) for pid in self.pids(rank)]:
            _kill(pid)
        _kill(self.process.pid)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _command_lines() -> list[str]:
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return lines


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Callable[..., Job]]:
    if _found() is None:
        pytest.skip("no MPI launcher beside this Python")
    jobs: list[Job] = []

    def start(ranks: int, how: str, who: int = 0, via: str = "ranks") -> Job:
        jobs.append(Job(tmp_path, ranks, how, who, via))
        return jobs[-1]

    yield start
    for each in jobs:
        if each.process.poll() is None:
            each.kill()
        assert _wait_until(lambda each=each: not each.segments(), 10.0), each.segments()
