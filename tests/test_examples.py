"""The programs of examples/, run as their first lines say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_all_reduce(run_ranks, ranks: int):
    done = run_ranks(ranks, EXAMPLES / "all_reduce.py")
    assert done.code == 0, done.stderr[-4000:]
    assert done.stdout == f"{ranks} ranks: sum {ranks * (ranks + 1) // 2}, max {ranks}\n"


def test_speedups(run_command, tmp_path: Path):
    record = tmp_path / "run.json"
    done = run_command(
        "sweep", "--ranks", "2", "--sizes", "4K,8K", "-n", "20", "--backend", "fake,nvrar",
        "--json", str(record),
    )  # fmt: skip
    assert done.code == 0, done.stderr[-4000:]
    shown = subprocess.run(
        [sys.executable, EXAMPLES / "speedups.py", record], capture_output=True, text=True
    )
    assert (shown.returncode, shown.stderr) == (0, "")
    lines = shown.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["4096 bytes", "8192 bytes"]
    medians = {
        (result["size_bytes"], result["backend"]): result["latency_us"]["median"]
        for result in json.loads(record.read_text())["results"]
    }
    for size, line in zip((4096, 8192), lines, strict=True):
        ratio = medians[size, "fake"] / medians[size, "nvrar"]
        assert line.endswith(f", {ratio:.2f}x")


def test_every_example_has_a_test():
    """Those that use PyTorch are tested in tests/pytorch."""
    texts = {path.stem: path.read_text() for path in EXAMPLES.glob("*.py")}
    programs = {name for name, text in texts.items() if "import torch" not in text}
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert programs == tested - {"every_example_has_a_test"}
