"""What goes wrong between hosts: code 4, rank and host named, a valid record, nothing left."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import hosts
import pytest

from nvrar_bench.documents.run_file import read_record

TIMEOUT_S = 5
SOON_S = 15.0  # from the deadline to the end of everything, on a busy machine
BUSY_BYTES = 1 << 20  # thousands of calls; nothing else sends as much
CASES = """
[[sweep]]
name = "ends"
sizes = [64]
iters = 3
warmup = 0

[[sweep]]
name = "goes on"
sizes = [128]
iters = 1000000
warmup = 0
"""


class Fault(NamedTuple):
    """What happens to host2, and what is said of it, a pattern."""

    act: Callable[[], object]
    said: str


def rank_on(host: str) -> int:
    """The one rank of a host, as this machine numbers it: its parent is its supervisor."""
    space = os.readlink(f"/proc/{hosts.host(host).keeper}/ns/pid")
    ours = [pid for pid in _pids() if _space(pid) == space and b"nvrar_bench" in _words(pid)]
    (rank,) = [pid for pid in ours if _parent(pid) in ours]
    return rank


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _space(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""


def _words(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


# Rank 0 gives up in NVRAR, where it knows whom it waits for, or inside MPI, where it knows that it
# is none of its own host. Of a lost host the launcher may speak alone.
OTHER = r"rank 0 .*rank 1 (on host host2|\(host2\))"
FAULTS = {
    "rank killed": Fault(
        lambda: os.kill(rank_on("host2"), signal.SIGKILL),
        "rank 1 on host host2 was killed by SIGKILL",
    ),
    "rank stopped": Fault(lambda: os.kill(rank_on("host2"), signal.SIGSTOP), OTHER),
    "link down": Fault(lambda: hosts.main(["link", "host2", "down"]), OTHER),
    "host lost": Fault(lambda: hosts.main(["kill", "host2"]), "host"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_ends_the_run(run_between: Any, fresh: None, tmp_path: Path, name: str):
    fault, path = FAULTS[name], tmp_path / "run.json"
    case = tmp_path / "case.toml"
    case.write_text(CASES)
    words = ("--backend", "nvrar", "--case", case, "--start", "barrier", "-T", TIMEOUT_S)
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(run_between, 2, *words, "--json", path)
        _wait_for_calls(path, job)
        begin = time.monotonic()
        fault.act()
        done = job.result()
    assert time.monotonic() - begin < TIMEOUT_S + SOON_S
    assert done.code == 4, done.stderr
    assert re.search(fault.said, done.stdout + done.stderr)
    record = read_record(path)
    assert record.run.status in ("failed", "interrupted")
    assert [result.size_bytes for result in record.results if result.latency_us] == [64]


@pytest.mark.parametrize("fresh", ["100mbit"], indirect=True)
def test_a_slow_link_makes_a_run_slow(run_between: Any, fresh: None):
    words = ("--backend", "nvrar", "--sizes", "512K", "-n", 3, "-w", 0, "-T", TIMEOUT_S)
    done = run_between(2, *words, "--json", "-")
    assert done.code == 0, done.stderr
    (result,) = done.record()["results"]
    assert result["check"]["status"] == "passed"
    assert result["latency_us"]["median"] > 20_000  # 40 ms at that rate, less what is let through


@pytest.mark.slow  # "link down" takes the same way
@pytest.mark.parametrize("backend", ["nvrar", "mpi"])
@pytest.mark.parametrize("fresh", ["1mbit"], indirect=True)
def test_a_link_that_is_too_slow_ends_the_run(
    run_between: Any, fresh: None, tmp_path: Path, backend: str
):
    path = tmp_path / "run.json"
    words = ("--backend", backend, "--sizes", "64,1M", "-n", 3, "-w", 0, "-T", 3)
    done = run_between(2, *words, "--json", path)
    assert done.code == 4, done.stderr
    assert re.search(OTHER, done.stderr)
    assert read_record(path).run.status == "failed"


def _wait_for_calls(path: Path, job: Future[Any]) -> None:
    """Until the first sweep has ended and calls of the second cross the link."""
    while not path.exists() or not read_record(path).results:
        _look_again(job)
    sent = hosts.sent_bytes()["host1"]
    while hosts.sent_bytes()["host1"] < sent + BUSY_BYTES:
        _look_again(job)


def _look_again(job: Future[Any]) -> None:
    assert not job.done(), job.result()
    time.sleep(0.05)
