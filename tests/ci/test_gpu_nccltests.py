"""What nccl-tests printed on a GPU, and our figures beside it."""

from __future__ import annotations

from pathlib import Path

import gpu_nccltests
import pytest
from gpu_nccltests import Output, beside_nccltests
from test_gpu_summary import record, result

STORED = Path(__file__).parents[2] / "docs/measurements/2026-11-27-h200/beside-nccl"
K128, K256 = 128 << 10, 256 << 10


def stored(name: str) -> str:
    return (STORED / f"{name}.log").read_text()


@pytest.mark.parametrize(
    ("name", "ranks", "times"),
    [
        ("ncclt-2", 2, [18.85, 13.85, 12.26, 13.81, 40.87]),
        ("ncclt-2-sym", 2, [8.43, 8.30, 9.83, 11.44, 14.22]),
        ("ncclt-2-graph", 2, [6.50, 6.55, 10.92, 13.17, 39.31]),
        ("ncclt-4", 4, []),
    ],
)
def test_times_out_of_place_of_a_real_output_also_of_one_that_was_cut_off(name, ranks, times):
    found = Output.parse(stored(name))
    assert (found.ranks, found.version) == (ranks, "2.30.7")
    assert found.times == dict(zip([K128 << n for n in range(5)], times, strict=False))


def test_what_is_no_output_has_no_times():
    assert Output.parse("mpirun: not found\n") == Output(0, "unknown", {})


def ours(plain: float, window: float, version: str = "2.30.7"):
    made = record(
        result("nccl", "plain", K128, plain, buffers="private"),
        result("nccl", "window", K128, window),
        result("nvrar", "signal", K128, 1.0),
        ranks=2, nodes=1,
    )  # fmt: skip
    return made.with_environment({"nccl": version})


def test_the_better_of_all_rounds_is_held_against_the_better(tmp_path):
    for number, name in enumerate(("ncclt-2-sym", "ncclt-2"), 1):
        (tmp_path / f"nccltests-symmetric-{number}.txt").write_text(stored(name))
    (tmp_path / "nccltests-graph-1.txt").write_text(stored("ncclt-2-graph"))
    records = {
        "sweep-nccltests-1": ours(20.0, 8.60), "sweep-nccltests-2": ours(20.0, 9.5),
        "sweep-nccltests-graph-1": ours(6.85, 1.0), "sweep-nccl-2": ours(1.0, 1.0),
    }  # fmt: skip
    met, missed = beside_nccltests(tmp_path, records)
    assert met == "symmetric  128K  ours     8.60 us  nccl-tests     8.43 us  1.02x  within 5%: met"
    assert missed.startswith("graph      128K  ours     6.85 us  nccl-tests     6.50 us  1.05x")
    assert missed.endswith("within 5%: missed, 5.4% off")


@pytest.mark.parametrize(
    ("us", "verdict"), [(10.4, "met"), (9.6, "met"), (9.4, "missed, 6.0% off")]
)
def test_the_limit_holds_above_and_below(us, verdict):
    (row,) = gpu_nccltests._rows("plain", {K128: us, K256: 1.0}, {K128: 10.0})
    assert row.endswith(f"within 5%: {verdict}")


def test_ranks_that_did_not_meet_are_no_figure(tmp_path):
    """A binary without MPI, under mpirun: two worlds of one rank."""
    alone = "".join(line for line in stored("ncclt-2").splitlines(True) if "Rank  1" not in line)
    (tmp_path / "nccltests-plain-1.txt").write_text(alone)
    (said,) = beside_nccltests(tmp_path, {"sweep-nccltests-1": ours(18.0, 8.0)})
    assert said.startswith("plain: all_reduce_perf had 1 ranks, not 2: it must be built with MPI=1")


def test_another_nccl_is_said(tmp_path):
    (tmp_path / "nccltests-plain-1.txt").write_text(stored("ncclt-2"))
    said, row = beside_nccltests(tmp_path, {"sweep-nccltests-1": ours(18.85, 8.0, "2.31.2")})
    assert said == "plain: NCCL 2.31.2 here and 2.30.7 in nccl-tests: another library"
    assert row.endswith("met")


def test_nothing_was_run(tmp_path):
    assert beside_nccltests(tmp_path, {}) == ["not run"]
