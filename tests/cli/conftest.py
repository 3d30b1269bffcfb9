"""The command line as its user starts it: under a plain mpirun, and in the background."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import signal
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from output import wait_until

_MARK = "NVRAR_BENCH_TEST_CLI"
_RANK = ("OMPI_COMM_WORLD_RANK", "PMI_RANK")
_FOLDERS = tempfile.TemporaryDirectory(prefix="nvrar-bench-mpirun-")


@pytest.fixture(scope="session")
def mpirun_environment() -> Callable[[], dict[str, str]]:
    """`mpirun_environment()`: what a plain mpirun needs here."""
    return _mpirun_environment


def _mpirun_environment() -> dict[str, str]:
    """What mpirun needs as root and with more ranks than cores; each MPI reads its own.

    In a folder of its own, what an earlier mpirun of the same pid has left is not in its way.
    """
    return {
        "PATH": _path(),
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
        "PRTE_MCA_prte_tmpdir_base": tempfile.mkdtemp(dir=_FOLDERS.name),
    }


def _path() -> str:
    """PATH, the programs beside this Python first."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


@pytest.fixture(scope="session")
def mpirun() -> Callable[..., list[str]]:
    """`mpirun(ranks, *arguments)`: the words of a command line that starts it with mpirun."""
    program = shutil.which("mpirun", path=_path())
    if program is None:
        pytest.skip("there is no mpirun")

    def words(ranks: int, *arguments: object) -> list[str]:
        module = [sys.executable, "-m", "nvrar_bench"]
        return [program, "-n", str(ranks), *module, *map(str, arguments)]

    return words


@pytest.fixture
def run_mpirun(_jobs: Any, mpirun: Callable[..., list[str]]) -> Callable[..., Any]:
    """`run_mpirun(ranks, *arguments)`: as `run_command`, under mpirun."""

    def run(ranks: int, *arguments: object, **how: Any) -> Any:
        environment = {**_mpirun_environment(), **how.pop("environment", {})}
        return _jobs.run(mpirun(ranks, *arguments), environment=environment, **how)

    return run


class Processes:
    """The processes of one job, found by a variable that all of them inherit."""

    def __init__(self) -> None:
        self.mark = uuid.uuid4().hex

    @property
    def environment(self) -> dict[str, str]:
        return {**_mpirun_environment(), _MARK: self.mark}

    def pids(self) -> list[int]:
        return sorted(pid for pid in _all_pids() if f"{_MARK}={self.mark}" in _environ(pid))

    def first(self) -> int:
        """What the user started: the process whose parent is none of these."""
        pids = self.pids()
        return next(pid for pid in pids if _parent(pid) not in pids)

    def launcher(self) -> int:
        """What started the ranks; mpirun of Intel MPI is a script around it."""
        pid = _parent(_parent(self.rank(0)))
        while _read(pid, "comm").strip() == "hydra_pmi_proxy":
            pid = _parent(pid)
        return pid

    def rank(self, number: int) -> int:
        """The pid of a rank; its supervisor, which has the same variables, is its parent."""
        wanted = {f"{name}={number}" for name in _RANK}
        same = [pid for pid in self.pids() if wanted & _environ(pid) and _is_worker(pid)]
        return next(pid for pid in same if _parent(pid) in same)


class Job(Processes):
    """A command in the background."""

    def __init__(self, begin: Callable[..., Future[Any]], fake: str) -> None:
        super().__init__()
        environment = {**self.environment, "NVRAR_BENCH_FAKE": fake}
        self._done = begin(environment=environment, timeout=200.0)

    def wait_for_results(self, path: Path, count: int) -> None:
        """Wait until the record at `path` holds `count` results."""

        def there() -> bool:
            return self._done.done() or len(_results(path)) >= count

        assert wait_until(there, 150.0), f"no {count} results in {path}"
        assert not self._done.done(), self._done.result()

    def send(self, pid: int, number: signal.Signals) -> None:
        assert pid in self.pids()
        os.kill(pid, number)

    def end(self, seconds: float) -> Any:
        """What came of it; fail if that takes longer than `seconds`."""
        return self._done.result(seconds)


@pytest.fixture
def start(run_command: Callable[..., Any]) -> Iterator[Callable[..., Job]]:
    """`start(*arguments, fake="hang=5")`: `nvrar-bench` in the background."""
    with _background(run_command) as begin:
        yield begin


@pytest.fixture
def start_mpirun(run_mpirun: Callable[..., Any]) -> Iterator[Callable[..., Job]]:
    """`start_mpirun(ranks, *arguments)`: the same under mpirun."""
    with _background(run_mpirun) as begin:
        yield begin


@contextlib.contextmanager
def _background(run: Callable[..., Any]) -> Iterator[Callable[..., Job]]:
    jobs: list[Job] = []
    with ThreadPoolExecutor() as pool:

        def begin(*words: object, fake: str = "") -> Job:
            jobs.append(Job(functools.partial(pool.submit, run, *words), fake))
            return jobs[-1]

        yield begin
        for job in jobs:
            if not job._done.done():  # the test has failed
                for pid in job.pids():
                    _kill(pid)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError:
        return ""


def _environ(pid: int) -> set[str]:
    return set(_read(pid, "environ").split("\0"))


def _is_worker(pid: int) -> bool:
    return "nvrar_bench" in _read(pid, "cmdline")


def _parent(pid: int) -> int:
    fields = _read(pid, "stat").rpartition(")")[2].split()
    return int(fields[1]) if fields else 0


def _results(path: Path) -> list[Any]:
    return json.loads(path.read_text())["results"] if path.exists() else []


@pytest.fixture
def processes() -> Iterator[Processes]:
    """For a job that a test starts by other means: `environment` marks it."""
    found = Processes()
    yield found
    ended = wait_until(lambda: not found.pids(), 5.0)
    left = [_read(pid, "cmdline").replace("\0", " ") for pid in found.pids()]
    for pid in found.pids():
        _kill(pid)
    assert ended, f"processes left behind: {left}"
