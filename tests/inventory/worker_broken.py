"""A worker whose steps break in the ways of libraries; STEPS is what the reader goes by."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time

from nvrar_bench.errors import Problem, Unavailable
from nvrar_bench.inventory import Finding, Probe, Question, survey


def prints() -> Finding:
    print("a banner")
    os.write(1, b"another banner\n")
    return Finding(version="1")


def crashes() -> Finding:
    os.write(2, b"assertion failed\n")
    os.kill(os.getpid(), 11)
    return Finding()


def hangs() -> Finding:
    """With the interpreter's lock, so that nothing in this process could help."""
    subprocess.Popen(["sleep", os.environ["SLEEP"]])
    ctypes.PyDLL(None).sleep(600)
    return Finding()


def exits() -> Finding:
    os._exit(7)


def refuses() -> Finding:
    raise Unavailable(Problem("it is not there", "install it"))


def fails() -> Finding:
    raise KeyError("libthis")


def late() -> Finding:
    time.sleep(0.01)
    return Finding(version="2", path="/there", detail="more")


STEPS = (
    Probe("g", "prints", ("cpu",), prints),
    Probe("g", "crashes", ("cuda",), crashes, 20.0),
    Probe("g", "hangs", (), hangs, 1.0),
    Probe("g", "exits", (), exits),
    Probe("g", "refuses", (), refuses),
    Probe("g", "fails", (), fails),
    Probe("g", "several", (), lambda: [Finding(name="a"), Finding(name="b")]),
    Probe("g", "none", (), list),
    Probe("h", "late", (), late),
    Question("cpu", None, lambda: None),
    Question("cuda", None, lambda: Problem("no\ndriver", "install  one")),
    Question("cuda", "nccl", crashes),
)

if __name__ == "__main__":
    survey.main(int(sys.argv[1]), STEPS)
