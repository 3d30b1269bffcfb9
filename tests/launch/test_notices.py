from __future__ import annotations

import pytest

from nvrar_bench.errors import LostRank, TimedOut
from nvrar_bench.launch.notices import MAX_BYTES, Notice, ReportedLoss


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
