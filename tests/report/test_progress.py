"""What is said while a run lasts."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from nvrar_bench.report import progress
from nvrar_bench.report.progress import CaseProgress


class Clock:
    """Seconds that pass when told to."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(progress, "time", found)
    return found


def test_what_takes_long_has_one_line_in_a_file_and_its_steps_none(clock):
    file = StringIO()
    with CaseProgress(3, Console(file=file)) as shown:
        shown.announce("building 14 kernels for sm_90")
        shown.note("building 14 kernels for sm_90: 5 done")
    assert file.getvalue() == "building 14 kernels for sm_90\n"


def test_a_terminal_shows_the_steps():
    file = StringIO()
    console = Console(file=file, force_terminal=True, width=100, _environ={})
    with CaseProgress(3, console) as shown:
        shown.announce("building 14 kernels for sm_90")
        shown.note("building 14 kernels for sm_90: 5 done")
        shown._bar.refresh()
        assert "building 14 kernels for sm_90: 5 done" in file.getvalue()


def test_the_time_left_goes_by_cases_alone_and_not_by_what_came_before_them(clock):
    file = StringIO()
    with CaseProgress(5, Console(file=file)) as shown:
        clock.now += 500  # kernels were built
        shown.begin("one")
        clock.now += 3
        shown.begin("two")
    assert file.getvalue() == "[1/5] one\n[2/5] two, about 12 s left\n"
