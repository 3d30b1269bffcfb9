"""Memory of all ranks of one machine."""

from __future__ import annotations

from pathlib import Path

import pytest

WORKER = Path(__file__).parent / "worker_shared_memory.py"


@pytest.mark.parametrize("ranks", [1, 3])
def test_every_rank_reaches_the_memory_of_every_rank(run_ranks, ranks):
    done = run_ranks(ranks, WORKER, "memory")
    assert done.code == 0, done.stderr[-4000:]
    marks = [[10 * number + rank + 1 for rank in range(ranks)] + [0] for number in range(2)]
    assert done.record() == [marks] * ranks


def test_memory_that_a_rank_cannot_map_is_refused_on_every_rank(run_ranks):
    done = run_ranks(3, WORKER, "refused")
    assert done.code == 0, done.stderr[-4000:]
    problem = (
        "Unavailable: the memory of a peer on this machine cannot be mapped ([Errno 13] "
        "Permission denied); the ranks of one machine must share a user and a PID namespace"
    )
    assert done.record() == [problem] * 3
