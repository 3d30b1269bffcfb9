"""Ranks that end in every way, under a real launcher."""

from __future__ import annotations

import os
import signal
import socket

import pytest

HOST = socket.gethostname()
VIA = pytest.mark.parametrize("via", ["ranks", "mpirun"])


def lines(job, text):
    return [line for line in job.stderr.splitlines() if text in line]


@pytest.mark.parametrize(("ranks", "via"), [(1, "mpirun"), (2, "ranks"), (4, "mpirun")])
def test_success(job, ranks, via):
    it = job(ranks, "pass", via=via)
    assert it.end() == 0
    assert it.stderr == ""


@pytest.mark.parametrize(("code", "ranks"), [(2, 1), (3, 2), (4, 1), (5, 2), (6, 2)])
def test_agreed_exit_code(job, code, ranks):
    it = job(ranks, f"agree={code}")
    assert it.end() == code
    assert it.stderr == ""
    assert it.record(0) == ""


@pytest.mark.parametrize("code", [3, 5])
@VIA
def test_one_rank_leaves(job, code, via):
    it = job(2, f"exit={code}", who=1, via=via)
    assert it.end() == code
    message = f"rank 1 on host {HOST} ended with exit code {code}"
    assert it.record(0) == f"LostRank: {message}\n"
    assert len(lines(it, message)) == 1


@pytest.mark.parametrize(("ranks", "who"), [(1, 0), (2, 0), (2, 1), (4, 2)])
@VIA
def test_killed(job, ranks, who, via):
    it = job(ranks, "kill=SIGKILL", who, via)
    assert it.end() == 4
    message = f"rank {who} on host {HOST} was killed by SIGKILL"
    assert len(lines(it, message)) == 1
    for rank in {*range(ranks)} - {who}:
        assert it.record(rank).startswith(f"ReportedLoss: {message}")


@pytest.mark.parametrize(("ranks", "who"), [(1, 0), (2, 1)])
@VIA
def test_a_library_ends_the_process(job, ranks, who, via):
    """As Open MPI does where it cannot start, with code 14; this program never does."""
    it = job(ranks, "exit=14", who, via)
    assert it.end() == 4
    message = f"rank {who} on host {HOST} was ended by a library, with exit code 14; see what that"
    assert len(lines(it, f"nvrar-bench: error: {message}")) == 1
    assert who == 0 or it.record(0).startswith(f"ReportedLoss: {message}")


def test_a_library_ends_all_ranks(job):
    it = job(3, "agree=14")
    assert it.end() == 4
    assert len(lines(it, "was ended by a library, with exit code 14")) == 1, it.stderr


@VIA
def test_segfault(job, via):
    it = job(2, "segfault", 1, via)
    assert it.end() == 4
    assert len(lines(it, f"rank 1 on host {HOST} was killed by SIGSEGV")) == 1
    assert it.record(0).startswith("ReportedLoss")


@pytest.mark.parametrize("who", [0, 1])
@VIA
def test_killed_before_mpi_init(job, who, via):
    it = job(2, "early-kill=SIGKILL", who, via)
    assert it.end() == 4
    assert len(lines(it, f"rank {who} on host {HOST} was killed by SIGKILL")) == 1


def test_leaves_before_mpi_init(job):
    it = job(2, "early-exit=5", 0)
    assert it.end() == 5


@pytest.mark.parametrize(("ranks", "via"), [(1, "mpirun"), (2, "mpirun"), (4, "ranks")])
def test_hang(job, ranks, via):
    it = job(ranks, "hang", 0, via)
    assert it.end() == 4
    assert len(lines(it, "in a barrier that never ends; the limit is 0.5 s")) == 1
    assert it.record(0).startswith("TimedOut: rank ")


def test_killed_from_outside(job):
    it = job(2, "wait")
    it.wait_for_ranks()
    os.kill(it.pids(1)[0], signal.SIGKILL)
    assert it.end() == 4
    assert it.record(0).startswith(f"ReportedLoss: rank 1 on host {HOST} was killed by SIGKILL")


def test_supervisor_is_killed(job):
    """What a launcher does that ends all ranks at once: rank 0 still writes its record."""
    it = job(2, "wait", via="mpirun")
    it.wait_for_ranks()
    os.kill(it.pids(0)[1], signal.SIGKILL)
    it.end()
    assert it.record(0).startswith(f"LostRank: the launcher killed rank 0 on host {HOST}")


def test_supervisor_is_killed_while_python_is_locked(job):
    it = job(1, "lock", via="mpirun")
    it.wait_for_ranks()
    os.kill(it.pids(0)[1], signal.SIGKILL)
    it.end()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_mpirun_is_ended(job, number):
    it = job(2, "wait", via="mpirun")
    it.wait_for_ranks()
    os.killpg(it.process.pid, number)
    code = it.end()
    assert it.record(0)
    if it.flavour != "Open MPI" and number != signal.SIGKILL:
        assert code == 130
        assert it.record(0).startswith("Interrupted: the run was interrupted")


class TestAlone:
    """Without mpirun: one rank."""

    @pytest.mark.parametrize("code", [0, 2, 3, 4, 5])
    def test_exit_code(self, job, code):
        assert job(1, f"agree={code}", via="alone").end() == code

    def test_killed(self, job):
        it = job(1, "kill=SIGKILL", via="alone")
        assert it.end() == 4
        assert len(lines(it, f"rank 0 on host {HOST} was killed by SIGKILL")) == 1

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_interrupted(self, job, number):
        it = job(1, "wait", via="alone")
        it.wait_for_ranks()
        os.killpg(it.process.pid, number)
        assert it.end() == 130
        assert it.stderr.count("interrupted") == 1
        assert it.record(0).startswith("Interrupted")

    def test_hang(self, job):
        it = job(1, "hang", via="alone")
        assert it.end() == 4
        assert it.stderr.startswith(f"rank 0 on host {HOST} waited ")
