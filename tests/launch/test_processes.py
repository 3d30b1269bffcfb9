from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from nvrar_bench.launch.processes import descendants, pid_namespace, start_time


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


def test_descendants():
    child = run("import subprocess; subprocess.run(['sleep', '60'])")
    while len(descendants(child.pid)) < 1:
        time.sleep(0.05)
    (grandchild,) = descendants(child.pid)
    assert {child.pid, grandchild} <= {*descendants(os.getpid())}
    os.kill(grandchild, 9)
    child.wait()
    assert descendants(child.pid) == []


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
