"""NVRAR between hosts, over TCP: every size, datatype and protocol gives the right result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nvrar_bench.datatypes import DTYPES

pytestmark = pytest.mark.usefixtures("three")
CASES = """
[[sweep]]
name = "sizes"
min = 8
max = "2M"
factor = {factor}
protocol = ["signal", "packet"]

[[sweep]]
name = "types"
counts = {counts}
dtype = "all"
protocol = ["signal", "packet"]
"""
# Factor between sizes from 8 to 2M, how many sizes that is, and counts of every datatype.
ALL = (2, 19, [1, 1003, 65537])
FEW = (64, 4, [1003])


# Ranks of one host share memory; three hosts are one step of three.
@pytest.mark.parametrize(
    ("count", "each", "cases"),
    [
        pytest.param(2, 1, ALL, marks=pytest.mark.slow),
        (2, 1, FEW),
        (2, 2, FEW),
        (3, 1, FEW),
        (3, 2, FEW),
    ],
)
def test_all_results_are_right(
    run_between: Any, tmp_path: Path, count: int, each: int, cases: tuple[int, int, list[int]]
):
    factor, sizes, counts = cases
    case = tmp_path / "case.toml"
    case.write_text(CASES.format(factor=factor, counts=counts))
    words = ("--backend", "nvrar", "--case", case, "--json", "-")
    done = run_between(count * each, *words, slots=[each] * count, command="check")
    assert done.code == 0, done.stderr
    record = done.record()
    assert record["topology"]["nodes"] == count
    assert {one["check"]["status"] for one in record["results"]} == {"passed"}
    seen = {(one["variant"], one["dtype"], one["count"]) for one in record["results"]}
    assert len(seen) == 2 * (sizes + len(DTYPES) * len(counts))
    assert record["environment"]["between_machines"].startswith("TCP over eth0")
