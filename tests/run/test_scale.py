"""What a run costs its rank 0 grows with the number of ranks, and no faster."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

WORKER = Path(__file__).parent / "worker_scale.py"


def test_what_rank_0_gathers_and_writes_is_linear(run_ranks, tmp_path):
    found = {}
    for ranks in (4, 8):
        bytes_file, record = tmp_path / f"bytes{ranks}", tmp_path / f"run{ranks}.json"
        done = run_ranks(ranks, WORKER, bytes_file, record)
        assert done.code == 0, done.stderr[-4000:]
        found[ranks] = (int(bytes_file.read_text()), record.stat().st_size)
    for four, eight in zip(found[4], found[8], strict=True):
        assert four < eight < 2 * four


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_256_ranks_on_one_machine(run_command):
    options = ("--backend", "fake", "--sizes", "1K", "--iters", 20, "--timeout", 400)
    done = run_command("sweep", "--ranks", 256, *options, "--json", "-", timeout=800)
    assert done.code == 0, done.stderr
    record = done.record()
    assert len(record["topology"]["placement"]) == 256
    (result,) = record["results"]
    assert (result["check"]["status"], len(result["arrivals"])) == ("passed", 256)
    # Of whatever process that tests have started and waited for: rank 0 is the largest here.
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 1 << 20
