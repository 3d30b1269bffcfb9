"""A rank that is late on purpose."""

from __future__ import annotations

import pytest

from nvrar_bench.errors import UsageError
from nvrar_bench.settings.values import Late, late_of


@pytest.mark.parametrize(
    ("text", "nanoseconds"), [("1=50us", 50_000), ("1=0.5ms", 500_000), ("1=9ns", 9), ("1=2s", 2e9)]
)
def test_a_rank_and_a_time(text, nanoseconds):
    late = late_of(text, 2, 60.0)
    assert late == Late(1, nanoseconds)
    assert late_of(str(late), None, 60.0) == late


def test_nobody_is_late():
    assert late_of(None, 2, 60.0) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1=50", "--late '1=50': allowed: RANK=TIME, a number with its unit ns, us, ms or s"),
        ("50us", "--late '50us': allowed: RANK=TIME"),
        ("-1=1us", "--late '-1=1us': allowed: RANK=TIME"),
        ("2=1us", "--late rank 2: allowed: ranks 0 to 1"),
        ("1=0us", "--late 1=0us: allowed: more than 0, less than the --timeout of 60 s"),
        ("1=60s", "--late 1=60s: allowed: more than 0, less than the --timeout of 60 s"),
    ],
)
def test_what_is_not_allowed(text, message):
    with pytest.raises(UsageError) as caught:
        late_of(text, 2, 60.0)
    assert str(caught.value).startswith(message)
