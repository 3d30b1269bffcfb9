"""Ranks of a host that wait for each other, asleep, before MPI_Init: here threads of a test."""

from __future__ import annotations

import os
import socket
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from threading import Timer

import pytest

from nvrar_bench.launch import meeting
from nvrar_bench.launch.meeting import end_turn, meet, take_turn


@pytest.fixture(autouse=True)
def one_core(monkeypatch):
    monkeypatch.setattr(meeting.os, "sched_getaffinity", lambda _: {0})


@pytest.fixture
def job():
    return uuid.uuid4().hex


def attend(job: str, ranks: int, after: float = 0.0) -> float:
    """Come `after` so long; return when this one has met the others."""
    time.sleep(after)
    meet(job, ranks)
    return time.monotonic()


def test_all_wait_for_the_last(job):
    begin = time.monotonic()
    with ThreadPoolExecutor(4) as ranks:
        met = list(ranks.map(lambda after: attend(job, 4, after), (0.0, 0.0, 0.1, 0.4)))
    assert all(begin + 0.4 <= at < begin + 3.0 for at in met)


def test_nobody_waits_for_good_for_one_who_does_not_come(job, monkeypatch):
    monkeypatch.setattr(meeting, "_GAP_S", 0.2)
    monkeypatch.setattr(meeting, "_start_took_s", lambda: 0.0)
    with ThreadPoolExecutor(2) as ranks:
        list(ranks.map(lambda _: attend(job, 3), range(2)))


def test_the_others_go_on_when_the_first_has_ended(job):
    name = f"\0nvrar-bench-{job}-meeting"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as first, ThreadPoolExecutor(1) as other:
        first.bind(name)
        first.listen(1)
        waiting = other.submit(attend, job, 2)
        first.accept()[0].close()
        waiting.result()


def test_another_user_holds_nobody_up(job, monkeypatch):
    monkeypatch.setattr(meeting.os, "getuid", lambda: os.geteuid() + 1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stranger:
        stranger.bind(f"\0nvrar-bench-{job}-meeting")
        stranger.listen(1)
        meet(job, 2)


@pytest.mark.parametrize("ranks", [None, 1])
def test_who_has_a_core_does_not_wait(job, ranks):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as taken:
        taken.bind(f"\0nvrar-bench-{job}-meeting")
        taken.listen(1)
        meet(job, ranks)  # else it would wait for the one who listens


@pytest.fixture
def turns(monkeypatch):
    """Whoever has the turn, in the order in which it came."""
    monkeypatch.setattr(meeting, "_turn", None)

    def take(job: str, rank: int) -> socket.socket:
        take_turn(job, rank, 2)
        assert meeting._turn is not None
        return meeting._turn

    return take


def test_a_turn_comes_when_the_one_before_has_ended(job, turns):
    begin, first = time.monotonic(), turns(job, 0)
    ending = Timer(0.2, first.close)
    ending.start()
    turns(job, 1)
    assert time.monotonic() >= begin + 0.2
    end_turn()
    turns(job, 0).close()


def test_nobody_waits_for_good_for_a_turn(job, turns, monkeypatch):
    first = turns(job, 0)
    monkeypatch.setattr(meeting, "_TURN_S", 0.05)
    turns(job, 1).close()
    first.close()
