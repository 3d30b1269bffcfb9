"""How a process ended, in words."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from nvrar_bench.launch import deaths
from nvrar_bench.launch.deaths import killed
from nvrar_bench.launch.environment import batch_hint


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
    monkeypatch.setattr(deaths.resource, "getrlimit", lambda _: (limit, limit))
    spent = SimpleNamespace(ru_utime=used, ru_stime=0.0)
    monkeypatch.setattr(deaths.resource, "getrusage", lambda _: spent)
    assert text in killed("rank 0", signal.SIGKILL)
    assert "ulimit -t" not in killed("rank 0", signal.SIGSEGV)


LIMITED = """
import resource, signal, subprocess, sys
resource.setrlimit(resource.RLIMIT_CPU, (1, 1))
child = subprocess.run([sys.executable, "-c", "while True: pass"])
from nvrar_bench.launch.deaths import killed
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
