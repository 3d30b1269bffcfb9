"""A rank that does not come: every other one says where it waited, and delivers nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

WORKER = Path(__file__).parent / "worker_deadline.py"

SCATTER, EXCHANGE = "reduce-scatter", "exchange between nodes"


# For each job: ranks, nodes, and who leaves out its third call, so that the flag awaited is 3. For
# each of its calls: who waits where, for whom, and sees what. A flag of one parity still shows
# epoch 1, one that every call writes shows 2.
JOBS = {
    "in the node": (
        (2, 1, 1),
        {
            "packet:1000:private": {0: (SCATTER, 1, 1)},
            "signal:1000:private": {0: (SCATTER, 1, 2)},
            "signal:1000:symmetric": {0: (SCATTER, 1, 2)},
        },
    ),
    # One element is all in slice 0: rank 1 has nothing to reduce, but hears of the others.
    "with an empty slice": (
        (2, 1, 0),
        {"packet:1:private": {1: (SCATTER, 0, 1)}, "signal:1:private": {1: (SCATTER, 0, 2)}},
    ),
    "between nodes": (
        (2, 2, 0),
        {
            "packet:1000:private": {1: (EXCHANGE, 0, 1)},
            "signal:1000:symmetric": {1: (EXCHANGE, 0, 1)},
        },
    ),
    # Rank 3 belongs to node 1: rank 2 waits for it there, and rank 0 of the other node for rank 2.
    "everywhere": (
        (4, 2, 3),
        {
            "packet:1000:private": {0: (EXCHANGE, 2, 1), 1: (EXCHANGE, 3, 1), 2: (SCATTER, 3, 1)},
            "signal:1000:private": {0: (EXCHANGE, 2, 1), 1: (EXCHANGE, 3, 1), 2: (SCATTER, 3, 2)},
        },
    ),
}


@pytest.mark.parametrize(
    ("world", "calls"),
    [
        pytest.param(*job, id=name, marks=[pytest.mark.slow] if name == "everywhere" else [])
        for name, job in JOBS.items()
    ],
)
def test_a_missing_rank_is_named(run_ranks, world, calls):
    ranks, nodes, missing = world
    done = run_ranks(ranks, WORKER, nodes, missing, *calls)
    assert done.code == 0, done.stderr[-4000:]
    seen = done.record()
    assert seen["problems"] == []  # of the two calls before
    for call, outcomes in zip(calls, seen["outcomes"], strict=True):
        assert [rank for rank in range(ranks) if outcomes[rank] is None] == [missing]
        for rank, (phase, peer, flag) in calls[call].items():
            error = outcomes[rank]["error"]
            assert error.startswith(f"NVRAR gave up after 4 s on rank {rank} (")
            assert error.endswith(
                f": phase {phase}, step 0, waiting for rank {peer}, chunk 0, "
                f"expected flag 3, saw {flag}"
            )
            assert outcomes[rank]["wrong"] == int(call.split(":")[1])  # nothing was delivered
