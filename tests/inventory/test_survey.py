"""Whatever a library does to the process that looks, every step has its row."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from worker_broken import STEPS

from nvrar_bench.documents.inventory import Ability, Row
from nvrar_bench.inventory import Finding, Probe, survey

WORKER = Path(__file__).with_name("worker_broken.py")
COMMAND = (sys.executable, str(WORKER))
MARK = "612.625"  # seconds of sleep, by which the child of the step that hangs is found


@pytest.fixture(scope="module")
def found() -> list[Row | Ability]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLEEP", MARK)
        return list(survey.results(STEPS, COMMAND, lambda name: None))


def row(found, name: str) -> Row:
    (one,) = (one for one in found if isinstance(one, Row) and one.name == name)
    return one


def test_every_step_has_its_rows_in_their_order(found):
    names = [one.name for one in found if isinstance(one, Row)]
    assert names == ["prints", "crashes", "hangs", "exits", "refuses", "fails", "a", "b", "late"]
    assert all(one.status == ("here" if one.problem is None else "wrong") for one in found[:9])


def test_what_libraries_print_is_in_nobodys_way(found):
    assert row(found, "prints").version == "1"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("crashes", "looking for it ended its process (SIGSEGV: assertion failed)"),
        ("hangs", "looking for it took more than 1 s"),
        ("exits", "looking for it ended its process (code 7)"),
    ],
)
def test_a_step_that_takes_the_worker_along_is_wrong_and_says_how_to_see_more(found, name, problem):
    one = row(found, name)
    number = [step.name for step in STEPS].index(name)
    assert (one.status, one.problem) == ("wrong", problem)
    assert one.fix == f"see where: {sys.executable} -X faulthandler {WORKER} {number}"


def test_what_a_step_raises_is_its_problem(found):
    assert (row(found, "refuses").problem, row(found, "refuses").fix) == (
        "it is not there", "install it",
    )  # fmt: skip
    assert row(found, "fails").problem == "KeyError: 'libthis'"


def test_all_that_was_found_arrives(found):
    assert row(found, "late") == Row("h", "late", "here", "2", "/there", "more", None, None, ())
    assert row(found, "crashes").needed_for == ("cuda",)


def test_abilities_arrive_too(found):
    assert found[9] == Ability.of("cpu", None, None, None)
    assert found[10] == Ability.of("cuda", None, "no driver", "install one")
    assert found[11].reason.startswith("looking for it ended its process (SIGSEGV")
    assert not found[11].can_run


def test_nothing_of_a_worker_that_hung_is_left(found):
    """Nor of what it had started."""
    end = time.monotonic() + 30
    while (left := _sleepers()) and time.monotonic() < end:
        time.sleep(0.05)
    assert left == []


def _sleepers() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        found += [str(path)] if MARK.encode() in words else []
    return found


@pytest.mark.parametrize(
    ("script", "limit", "problem"),
    [
        ("raise SystemExit('no such module')", 60.0, "ended its process (code 1: no such module)"),
        ("import time; time.sleep(600)", 2.0, "took more than 2 s"),
    ],
)
def test_a_worker_that_does_not_begin_is_asked_once(monkeypatch, script, limit, problem):
    monkeypatch.setattr(survey, "_READY_S", limit)
    steps = [Probe("g", name, (), Finding) for name in 5 * "abcdefghij"]
    began = time.monotonic()
    found = list(survey.results(steps, (sys.executable, "-c", script), lambda name: None))
    assert [one.problem for one in found] == [f"the process that looks {problem}"] * len(steps)
    assert time.monotonic() - began < 60


def test_names_are_told_before_each_step():
    told: list[str] = []
    list(survey.results(STEPS[:1], (sys.executable, str(WORKER)), told.append))
    assert told == ["prints"]
