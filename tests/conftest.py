"""Real jobs for the tests: a Python file on some ranks, or the command line, and nothing left over.

    def test_something(run_ranks, run_command):
        done = run_ranks(4, HERE / "worker.py", "argument")       # under the launcher of this MPI
        done = run_command("sweep", "--ranks", "2", "--sizes", "4K", "--json", "-")
        assert (done.code, done.record()["run"]["status"]) == (0, "complete")

Both take `timeout=SECONDS`, `environment={NAME: VALUE}`, `without=[NAME]` and `folder=PATH`, and
return a `Done`. They skip where no launcher belongs to this MPI. After the test, no
process of its jobs may be alive and /dev/shm may hold no new file.

All jobs of a session, and the tests themselves, share one kernel cache, so that each kernel is
compiled once. It is new for each session; NVRAR_BENCH_TEST_CACHE=FOLDER keeps it between sessions.

The Hypothesis profile `fuzz` is for inputs from outside: 200 of them, or $NVRAR_BENCH_FUZZ.

MPI is not initialised in the process that runs the tests: its variables would reach the jobs. The
fixture `alone` is a world of one rank that needs no MPI.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import mpi4py
import pytest

if TYPE_CHECKING:
    from nvrar_bench.world import World

mpi4py.rc.initialize = False
mpi4py.rc.finalize = False

# A busy machine is slow, and no fault of an example.
hypothesis.settings.register_profile(
    "patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("patient")
hypothesis.settings.register_profile(
    "fuzz", max_examples=int(os.environ.get("NVRAR_BENCH_FUZZ", "200"))
)

# Of a command that should long have ended. Below the limit of a test in pyproject.toml, so that the
# command is named and ended; far above what it takes where others use the cores, too.
PATIENCE_S = 250.0
_MARK = "NVRAR_BENCH_TEST_JOB"  # every process of a test's jobs inherits it: so they are found
_SHM = Path("/dev/shm")
_START = """
import sys
from nvrar_bench.errors import NvrarBenchError
from nvrar_bench.launch import flavours, launcher
try:
    if sys.argv[1:]:
        sys.exit(launcher.launch(int(sys.argv[1]), sys.argv[2:]))
    flavours.find()
except NvrarBenchError as error:
    sys.exit(f"{error}")
"""


@dataclass(frozen=True)
class Done:
    """What came of a job."""

    code: int
    stdout: str
    stderr: str

    def record(self) -> dict[str, Any]:
        """The run record that `--json -` wrote."""
        return json.loads(self.stdout)


Run = Callable[..., Done]


@pytest.fixture(scope="session", autouse=True)
def kernel_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The kernel cache of this session; variables of the developer's own are put aside."""
    kept = os.environ.get("NVRAR_BENCH_TEST_CACHE")
    cache = Path(kept) if kept else _common_folder(tmp_path_factory) / "kernels"
    cache.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("NVRAR_BENCH_")]:
            patch.delenv(name)
        patch.setenv("NVRAR_BENCH_CACHE", str(cache))
        yield cache


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """A process of pytest-xdist ignores Ctrl-C, and what it starts would inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _common_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of this session, whose tests may be spread over several processes (pytest-xdist)."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture
def run_ranks(_jobs: Jobs) -> Run:
    """`run_ranks(ranks, script, *arguments)`: a Python file on `ranks` ranks.

    It runs as `python -m mpi4py script`, so an exception in one rank ends them all, with code 1
    or 4 and the traceback in stderr.
    """

    def run(ranks: int, script: Path, *arguments: object, **how: Any) -> Done:
        worker = [sys.executable, "-m", "mpi4py", str(script), *map(str, arguments)]
        return _jobs.run([sys.executable, "-c", _START, str(ranks), *worker], **how)

    return run


@pytest.fixture
def run_command(_jobs: Jobs) -> Run:
    """`run_command(*arguments)`: `nvrar-bench` with these arguments; `--ranks N` starts ranks."""

    def run(*arguments: object, **how: Any) -> Done:
        return _jobs.run([sys.executable, "-m", "nvrar_bench", *map(str, arguments)], **how)

    return run


@pytest.fixture
def run_words(_jobs: Jobs) -> Run:
    """`run_words(words)`: as `run_command`, whatever the command line is."""
    return _jobs.run


@pytest.fixture(scope="session")
def new_jobs() -> type[Jobs]:
    """`new_jobs()`: for tests that run several jobs at once; `check_nothing_left` is theirs."""
    problem = _no_launcher()
    if problem:
        pytest.skip(problem)
    return Jobs


class Alone:
    """The part of a communicator that nvrar_bench uses, for one rank."""

    rank, size = 0, 1

    def bcast(self, value: Any, root: int = 0) -> Any:
        return value

    def allgather(self, value: Any) -> list[Any]:
        return [value]

    def Gather(self, send: Any, recv: Any) -> None:  # noqa: N802 - MPI's name
        recv[0] = send

    def Bcast(self, data: Any) -> None:  # noqa: N802
        """One rank has it."""

    def Allreduce(self, send: Any, recv: Any, op: Any) -> None:  # noqa: N802
        """In place, as everywhere here: one rank's values are the result."""

    def Barrier(self) -> None:  # noqa: N802
        """One rank waits for nobody."""


@pytest.fixture
def alone() -> World:
    """A world of one rank in this process."""
    from nvrar_bench.world import World

    return World(Alone(), Alone(), ("here",), (0,), 1, False, 1)


@pytest.fixture
def _jobs() -> Iterator[Jobs]:
    problem = _no_launcher()
    if problem:
        pytest.skip(problem)
    jobs = Jobs()
    yield jobs
    jobs.check_nothing_left()


class Jobs:
    """The jobs of one test."""

    def __init__(self) -> None:
        self._mark = uuid.uuid4().hex
        self._others = set(os.listdir(_SHM))  # files in shared memory that are not of these jobs
        self._ours: set[str] = set()

    def run(
        self,
        command: list[str],
        timeout: float = PATIENCE_S,
        environment: Mapping[str, str] | None = None,
        without: Collection[str] = (),
        folder: Path | None = None,
    ) -> Done:
        """Run `command` to its end, in `folder`, its variables those of the tests less some."""
        kept = {name: text for name, text in os.environ.items() if name not in without}
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**kept, **(environment or {}), _MARK: self._mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        end = time.monotonic() + timeout
        while True:
            try:
                return Done(*self._communicate(process))
            except subprocess.TimeoutExpired:
                self._see_whose_files()
            if time.monotonic() > end:
                self._kill()
                done = Done(*self._communicate(process, 10))
                pytest.fail(
                    f"{command} did not end in {timeout:g} s\n"
                    f"{done.stdout[-2000:]}{done.stderr[-4000:]}"
                )

    def _communicate(
        self, process: subprocess.Popen[str], seconds: float = 0.1
    ) -> tuple[int, str, str]:
        stdout, stderr = process.communicate(timeout=seconds)
        return process.returncode, stdout, stderr

    def _see_whose_files(self) -> None:
        """Tell the files in shared memory that these jobs have made from those of other jobs."""
        new = set(os.listdir(_SHM)) - self._others - self._ours
        if new:
            maps = b"".join(_bytes(Path(f"/proc/{pid}/maps")) for pid in self._alive())
            self._ours |= {name for name in new if name.encode() in maps}

    def check_nothing_left(self) -> None:
        """Fail if a process of these jobs is alive, or a file is left in shared memory."""
        ended = _wait_until(lambda: not self._alive())
        orphans = [_command_line(pid) for pid in self._alive()]
        self._kill()
        assert ended, f"processes left behind: {orphans}"
        left = [name for name in self._ours if (_SHM / name).exists()]
        assert not left, f"left in {_SHM}: {left}"

    def _alive(self) -> list[int]:
        mark = f"{_MARK}={self._mark}".encode()
        processes = Path("/proc").glob("[0-9]*/environ")
        return [int(path.parent.name) for path in processes if mark in _bytes(path)]

    def _kill(self) -> None:
        for pid in self._alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@functools.cache
def _no_launcher() -> str:
    done = subprocess.run([sys.executable, "-c", _START], capture_output=True, text=True)
    return done.stderr.strip() if done.returncode else ""


def _wait_until(true: Callable[[], bool], seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    return true()


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _command_line(pid: int) -> str:
    return _bytes(Path(f"/proc/{pid}/cmdline")).replace(b"\0", b" ").decode(errors="replace")
