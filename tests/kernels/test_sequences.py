"""Calls after calls: memory and epochs are used again, while ranks are apart."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


LATER = [
    pytest.param(6, 1, marks=pytest.mark.slow),
    pytest.param(8, 2**32 - 40, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("ranks", "epoch"), [(2, 2**32 - 70), (3, 1), (4, 2**33 - 50), *LATER])
def test_calls_of_all_kinds_follow_each_other(run_ranks, ranks, epoch):
    done = run_ranks(ranks, HERE / "worker_mixed.py", 400, 70000, ranks, epoch)
    assert done.code == 0, done.stderr[-4000:]
    assert done.record() == {"calls": 400, "problems": []}


@pytest.mark.parametrize(("ranks", "nodes"), [(2, 1), (3, 3), (4, 2)])
def test_epochs_run_past_multiples_of_2_to_the_32(run_ranks, ranks, nodes):
    done = run_ranks(ranks, HERE / "worker_wrap.py", nodes)
    assert done.code == 0, done.stderr[-4000:]
    seen = done.record()
    assert seen["problems"] == []
    assert seen["wrapped"] == [1] * 4 + [2] * 4
