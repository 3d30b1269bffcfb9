"""Calls that may never return, and other programs, within a time limit."""

from __future__ import annotations

import sys
import threading
import time

import pytest

from nvrar_bench.bounded import answer, bounded, first_line
from nvrar_bench.errors import TimedOut


def test_what_it_prints_on_both_streams():
    say = "import sys; print('\\n  one  \\ntwo'); print('three', file=sys.stderr); sys.exit(3)"
    assert answer([sys.executable, "-c", say]).split() == ["one", "two", "three"]
    assert first_line([sys.executable, "-c", say]) == "one"


def test_a_program_that_cannot_run_says_nothing(tmp_path):
    (tmp_path / "no-program").write_bytes(b"\x7fELF and no more")
    (tmp_path / "no-program").chmod(0o755)
    assert answer([str(tmp_path / "no-program")]) == answer(["/no/such/program"]) == ""
    assert first_line(["/no/such/program"]) == ""


def test_a_late_program_is_killed_and_its_child_is_not_waited_for():
    """A shell that is killed leaves the sleep behind, with the pipe in its hands."""
    began = time.monotonic()
    assert answer(["sh", "-c", "echo early; sleep 60; echo late"], seconds=0.2) == ""
    assert time.monotonic() - began < 40


def test_bounded_returns_raises_or_gives_up():
    assert bounded("work", 5, lambda: 4) == 4
    assert bounded("work", 5, lambda: None) is None
    with pytest.raises(KeyError):
        bounded("work", 5, lambda: {}["absent"])
    never = threading.Event()
    started = time.monotonic()
    with pytest.raises(TimedOut, match=r"^waited 0.2 s in work$"):
        bounded("work", 0.2, lambda: never.wait(60))
    assert time.monotonic() - started < 30
    never.set()
