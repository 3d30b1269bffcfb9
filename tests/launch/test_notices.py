from __future__ import annotations

import socket

import pytest

from nvrar_bench.errors import LostRank, TimedOut
from nvrar_bench.launch import notices
from nvrar_bench.launch.notices import MAX_BYTES, Notice, ReportedLoss, Siblings


@pytest.mark.parametrize(
    ("kind", "error"),
    [("killed", ReportedLoss), ("timed_out", TimedOut), ("finished", LostRank)],
)
def test_round_trip(kind, error):
    notice = Notice(kind, 3, 4, "rank 3 on höst")
    assert Notice.decode(notice.encode()) == notice
    assert type(notice.error()) is error
    assert str(notice.error()) == "rank 3 on höst"


@pytest.mark.parametrize("letter", ["a", "ä", "\U0001f600"])
def test_a_long_message_is_cut_and_still_arrives(letter):
    data = Notice("killed", 0, 4, letter * 100_000).encode()
    assert len(data) <= MAX_BYTES
    assert Notice.decode(data).message.startswith(letter * 1000)


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"\xff", b'{"kind": "x", "rank": 0, "exit_code": 0, "message": ""}']
)
def test_anything_else(data):
    assert Notice.decode(data) is None


NOTICE = Notice("killed", 0, 4, "gone")


@pytest.fixture
def three():
    group = [Siblings(rank, 3) for rank in range(3)]
    yield group
    for each in group:
        each.socket.close()


def test_everybody_hears(three):
    assert three[0].tell(NOTICE) == {1, 2}
    assert three[1].hear() == three[2].hear() == [NOTICE]
    assert three[0].hear() == three[1].hear() == []


def test_those_that_know_are_left_out(three):
    assert three[0].tell(NOTICE, {1}) == {2}
    assert three[1].hear() == []


def test_one_that_is_gone(three):
    three[2].socket.close()
    assert three[0].tell(NOTICE) == {1}


def test_another_job(three, monkeypatch):
    monkeypatch.setenv("PMIX_NAMESPACE", "another")
    other = Siblings(0, 3)
    assert other.tell(NOTICE) == set()
    other.socket.close()


def test_another_user(three, monkeypatch):
    address = three[1]._address(1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(NOTICE.encode(), address)
        monkeypatch.setattr(notices.os, "getuid", lambda: 12345)
        assert three[1].hear() == []


def test_nonsense(three):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b"nonsense", three[1]._address(1))
    assert three[1].hear() == []


def test_a_name_that_is_taken(three):
    alone = Siblings(1, 3)
    assert three[0].tell(NOTICE) == {1, 2}
    assert alone.hear() == []
    alone.socket.close()
