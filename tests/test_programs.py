"""Other programs are asked within a time limit."""

from __future__ import annotations

import sys
import time

from nvrar_bench.programs import answer, first_line


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
