from __future__ import annotations

import pytest

from nvrar_bench.launch.job import BannerFilter

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
