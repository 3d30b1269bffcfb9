from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from nvrar_bench.launch import processes
from nvrar_bench.launch.environment import batch_hint
from nvrar_bench.launch.processes import killed, pid_namespace, start_time


def run(code):
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def gone(pid):
    end = time.monotonic() + 30
    while start_time(pid) is not None and time.monotonic() < end:
        time.sleep(0.05)
    return start_time(pid) is None


def test_start_time():
    child = run("pass")
    assert start_time(child.pid).isdecimal()
    child.wait()
    assert start_time(child.pid) is None
    assert start_time(os.getpid()) == start_time(os.getpid())


def test_pid_namespace():
    assert pid_namespace() > 0


@pytest.mark.parametrize(
    "tie",
    [
        "processes.signal_when_parent_ends(15); print('tied', flush=True); time.sleep(60)",
        # With Python's lock in hand, so that nothing written in Python can run.
        "processes.end_when_parent_ends(); print('tied', flush=True); ctypes.PyDLL(None).sleep(60)",
    ],
)
def test_child_ends_with_its_parent(tie):
    inner = f"import ctypes, signal, time; from nvrar_bench.launch import processes; {tie}"
    outer = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {inner!r}])\n"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    parent = run(outer)
    told = {parent.stdout.readline().strip() for _ in range(2)}
    assert "tied" in told
    child = int((told - {"tied"}).pop())
    assert start_time(child) is not None
    parent.kill()
    parent.wait()
    assert gone(child)


def test_a_signal_with_its_usual_cause():
    assert "out-of-memory" in killed("rank 1", signal.SIGKILL)
    assert "df -h /dev/shm" in killed("rank 1", signal.SIGBUS)
    assert "ulimit -t" in killed("rank 1", signal.SIGXCPU)
    assert killed("it", signal.SIGSEGV, "look") == "it was killed by SIGSEGV: look"


@pytest.mark.parametrize(
    ("limit", "used", "text"),
    [
        (resource.RLIM_INFINITY, 9999.0, "out-of-memory"),
        (60, 20.0, "out-of-memory"),
        (60, 59.5, "ulimit -t"),
    ],
)
def test_a_kill_at_the_limit_of_cpu_time_is_no_lack_of_memory(monkeypatch, limit, used, text):
    monkeypatch.setattr(processes.resource, "getrlimit", lambda _: (limit, limit))
    spent = SimpleNamespace(ru_utime=used, ru_stime=0.0)
    monkeypatch.setattr(processes.resource, "getrusage", lambda _: spent)
    assert text in killed("rank 0", signal.SIGKILL)
    assert "ulimit -t" not in killed("rank 0", signal.SIGSEGV)


LIMITED = """
import resource, signal, subprocess, sys
resource.setrlimit(resource.RLIMIT_CPU, (1, 1))
child = subprocess.run([sys.executable, "-c", "while True: pass"])
from nvrar_bench.launch.processes import killed
print(killed("it", -child.returncode))
"""


def test_a_process_that_the_kernel_kills_at_that_limit():
    done = subprocess.run(
        [sys.executable, "-c", LIMITED], capture_output=True, text=True, timeout=60
    )
    assert "ulimit -t" in done.stdout, done.stderr


def test_variables_of_a_batch_job_are_a_hint():
    assert batch_hint({"PATH": "/bin", "SLURM_NTASKS": "2"}) == ""
    assert "SLURM_JOB_ID=7 " in batch_hint({"SLURM_JOB_ID": "7"})
    assert "unset ${!SLURM_*}" in batch_hint({"SLURM_JOBID": "7"})
