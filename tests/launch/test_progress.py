"""Which rank is late: the verdict on what was seen, and the page that a rank writes."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import pytest

from nvrar_bench.launch import progress
from nvrar_bench.launch.progress import Progress, Seen, verdict

WAITING = Progress(steps=7, began=10.0, gave_up=False, what="the case x")
SEEN = [Seen(rank, 100 + rank, False, WAITING, idle=False) for rank in range(3)]


def said(**changes) -> str:
    first, *others = SEEN
    return verdict([*others, replace(first, **changes)], "box", 14.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stopped": True}, "is stopped, by SIGSTOP or a debugger, in the case x, for 4.0 s"),
        ({"progress": None}, "has not come to MPI start-up"),
        ({"progress": replace(WAITING, steps=6)}, "is late in the case x, for 4.0 s"),
        ({"idle": True}, "sleeps in the case x, for 4.0 s"),
        ({"idle": True, "progress": replace(WAITING, steps=6)}, "is late in the case x, for 4.0 s"),
        ({"stopped": True, "progress": None}, "is stopped, by SIGSTOP or a debugger,"),
    ],
)
def test_the_late_rank_is_named(changes, words):
    assert said(**changes) == f"rank 0 on host box (pid 100) {words}"


def test_nobody_is_named_without_a_reason():
    assert said() == "no rank on host box is behind the others"
    assert verdict([replace(each, idle=True) for each in SEEN], "box", 14.0) == said()
    assert said(idle=True, progress=replace(WAITING, gave_up=True)) == said()
    assert verdict(SEEN[:1], "box", 14.0) == ""


def test_ranks_of_other_hosts_are_named_where_none_of_this_host_is_late():
    away = "it waits for another host or the network between: rank 3 on host other"
    assert verdict([], "box", 14.0, "rank 3 on host other") == away
    assert verdict(SEEN, "box", 14.0, "rank 3 on host other") == f"{said()}; {away}"
    stopped = [*SEEN[1:], replace(SEEN[0], stopped=True)]
    assert "other" not in verdict(stopped, "box", 14.0, "rank 3 on host other")


def test_one_that_still_waits_among_those_that_gave_up():
    gave_up = [replace(each, progress=replace(WAITING, gave_up=True), idle=True) for each in SEEN]
    seen = [replace(SEEN[0], idle=True), *gave_up[1:]]
    assert verdict(seen, "box", 14.0).startswith("rank 0 on host box (pid 100) sleeps")


def test_a_page_is_read_from_outside(monkeypatch):
    monkeypatch.setattr(progress, "_page", None)
    assert not progress.has_page(os.getpid())
    assert progress.read(os.getpid()) is None
    file = progress.open_page()
    assert progress.read(os.getpid()) is None  # no step has begun
    progress.begin("a very é" + "x" * 300)
    progress.begin()
    progress.give_up()
    seen = progress.read(os.getpid())
    assert (seen.steps, seen.gave_up) == (2, True)
    assert seen.what.startswith("a very éxxx")
    assert 0 <= time.monotonic() - seen.began < 60
    os.close(file)
