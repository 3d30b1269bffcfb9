"""NVRAR between hosts, over TCP: every size, datatype and protocol gives the right result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nvrar_bench.datatypes import DTYPES

pytestmark = pytest.mark.usefixtures("three")
COUNTS = (1, 1003, 65537)
SIZES = 19  # powers of two
CASES = f"""
[[sweep]]
name = "sizes"
min = 8
max = "2M"
protocol = ["signal", "packet"]
iters = 3
warmup = 0

[[sweep]]
name = "types"
counts = {list(COUNTS)}
dtype = "all"
protocol = ["signal", "packet"]
iters = 3
warmup = 0
"""


# Ranks of one host share memory; three hosts are one step of three.
@pytest.mark.parametrize("each", [1, 2], ids=lambda each: f"{each} a host")
@pytest.mark.parametrize("count", [2, 3], ids=lambda count: f"{count} hosts")
def test_all_results_are_right(run_between: Any, tmp_path: Path, count: int, each: int):
    case = tmp_path / "case.toml"
    case.write_text(CASES)
    words = ("--backend", "nvrar", "--case", case, "--json", "-")
    done = run_between(count * each, *words, slots=[each] * count, command="check")
    assert done.code == 0, done.stderr
    record = done.record()
    assert record["topology"]["nodes"] == count
    assert {one["check"]["status"] for one in record["results"]} == {"passed"}
    seen = {(one["variant"], one["dtype"], one["count"]) for one in record["results"]}
    assert len(seen) == 2 * (SIZES + len(DTYPES) * len(COUNTS))
    assert record["environment"]["between_machines"].startswith("TCP over eth0")
