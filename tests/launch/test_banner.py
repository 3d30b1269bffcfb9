from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from nvrar_bench.errors import SPOKEN
from nvrar_bench.launch.flavours import Flavour
from nvrar_bench.launch.job import BannerFilter, _Stderr

RULE = "-" * 74 + "\n"
BANNER = RULE + "the phrase, and\nmore\n" + RULE
OTHER = RULE + "not enough slots\n" + RULE


def passed_on(pieces):
    out = []
    it = BannerFilter("the phrase", out.append)
    for piece in pieces:
        it.feed(piece)
    it.close()
    return b"".join(out).decode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("one\ntwo", "one\ntwo"),
        (f"one\n{BANNER}two\n", "one\ntwo\n"),
        (f"one\n{OTHER}two\n", f"one\n{OTHER}two\n"),
        (f"{OTHER}{BANNER}{OTHER}", f"{OTHER}{OTHER}"),
        (f"one\n{RULE}never closed", f"one\n{RULE}never closed"),
        ("--- not a rule\n--", "--- not a rule\n--"),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_filter(text, expected, size):
    data = text.encode()
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert passed_on(pieces) == expected


def test_half_a_line_passes_at_once():
    out = []
    BannerFilter("the phrase", out.append).feed(b"10 %")
    assert out == [b"10 %"]


@pytest.mark.parametrize("size", [1, 10, 10_000])
def test_what_is_looked_for_may_come_in_pieces(size, capfd):
    lost = "lost communication with a remote daemon"
    data = f"some line\n{SPOKEN}rank 1 is late\n{lost}\n".encode()
    receive, send = os.pipe()
    with open(receive, "rb", buffering=0) as pipe:
        stderr = _Stderr(SimpleNamespace(stderr=pipe), Flavour("", "", "", (), "", lost_host=lost))
        for at in range(0, len(data), size):
            os.write(send, data[at : at + size])
            stderr.read([pipe])
    os.close(send)
    assert (stderr.has_told, stderr.has_lost_host) == (True, True)
    assert capfd.readouterr().err.encode() == data
