"""Jobs on test hosts, which ci/hosts.py makes of namespaces: see there for what they share.

    def test_something(three, run_between):
        done = run_between(2, "--sizes", "8", "--json", "-")       # a sweep, one rank a host
        assert done.code == 0

A machine has one set of hosts at a time, so a file of tests waits for that of another session.
Tests skip where hosts cannot be made. After each job no process of it may be alive on any host, and
/dev/shm of each is empty.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "ci"))

import hosts

from nvrar_bench.launch import flavours

_LOCK = Path("/run/nvrar-bench-hosts.lock")
_OTHERS_S = 300.0  # for another session's tests on hosts


@pytest.fixture(scope="module", autouse=True)
def _machine() -> Iterator[None]:
    """Have this machine's hosts to ourselves; what a session that was killed has left, too."""
    if reason := hosts.why_not():
        pytest.skip(reason)
    with _LOCK.open("w") as lock:
        _wait_for(lock.fileno())
        hosts.down()
        yield
        hosts.down()


def _wait_for(lock: int) -> None:
    end = time.monotonic() + _OTHERS_S
    while True:
        with contextlib.suppress(BlockingIOError):
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert time.monotonic() < end, f"another session holds {_LOCK}"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def three() -> Iterator[None]:
    """host1, host2 and host3, for the tests of a file."""
    hosts.up(3)
    yield
    hosts.down()


@pytest.fixture
def fresh(request: pytest.FixtureRequest) -> Iterator[None]:
    """host1 and host2, for a test that breaks them; a parameter bounds the rate of their links."""
    hosts.down()
    hosts.up(2, getattr(request, "param", None))
    yield
    hosts.down()


@pytest.fixture
def run_between(run_words: Any) -> Iterator[Callable[..., Any]]:
    """`run_between(ranks, *words, slots=(1, 1), each=[], flags=[])`: a sweep of NVRAR on hosts.

    `slots` says how many ranks each host takes, from host1 on. `each` are words in front of every
    rank's command, `flags` are the launcher's. What else there is goes to `run_command`.
    """
    folder = tempfile.mkdtemp(prefix="nvrar-")  # of mpirun: its name is long enough for sockets

    def run(
        ranks: int, *words: object, slots: Sequence[int] = (1, 1), each: Sequence[str] = (),
        flags: Sequence[str] = (), command: str = "sweep", **how: Any,
    ) -> Any:  # fmt: skip
        start = shlex.join([*_launcher(ranks, slots), *flags, *each])
        whole = [sys.executable, "-m", "nvrar_bench", command, "--launcher", start]
        environment = {"TMPDIR": folder, **how.pop("environment", {})}
        done = run_words([*whole, *map(str, words)], environment=environment, **how)
        left = {one.name: os.listdir(f"/proc/{one.keeper}/root/dev/shm") for one in _alive()}
        assert not any(left.values()), left
        return done

    yield run
    shutil.rmtree(folder)


def _launcher(ranks: int, slots: Sequence[int]) -> list[str]:
    """What starts them: mpirun or mpiexec of the MPI that these tests run on."""
    flavour, program = flavours.find()
    return [program, *hosts.launcher(ranks, flavour.package, slots)[1:]]


def _alive() -> list[hosts.Host]:
    return [one for one in hosts.hosts() if Path(f"/proc/{one.keeper}/root/dev/shm").exists()]
