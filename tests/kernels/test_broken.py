"""Kernels broken on purpose, each in one place: the real command finds it and ends with code 3.

One defect of each kind that a verifier could miss; tests/exploration/mutants.toml has the others.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

KERNELS = Path(__file__).parents[2] / "kernels"


@dataclass(frozen=True)
class Defect:
    """One replacement of text in one file, and the run that must find it.

    `first` is the index of the first wrong element where it is certain: some values are right by
    chance.
    """

    file: str
    old: str
    new: str
    size: int = 4096
    ranks: int = 2
    options: str = ""
    first: int | None = None


DEFECTS = {
    # Slices of 504 and 499 elements, whose last one is in no full vector.
    "the tail of a slice is dropped": Defect(
        "span.cuh",
        "i = vectors * lanes + thread_index(); i < count;",
        "i = vectors * lanes + thread_index(); i + 1 < count;",
        size=4012,
        first=503,
    ),
    "the tail of the message is dropped": Defect(
        "standing.cuh",
        "w < arguments.windows;",
        "w + (w > 0) < arguments.windows;",
        size=(512 << 10) + 4,
        options="--buffers private",
        first=(512 << 10) // 4,
    ),
    "a slice is stored in the place of another": Defect(
        "packet.cuh",
        "store(window, peer, piece, unit);",
        "store(window, (peer + 1) % group_size, piece, unit);",
        options="--protocol packet",
    ),
    "one element in the node is an earlier call's": Defect(
        "signal.cuh",
        "send_at(window, g, chunk), chunk.bytes);",
        "send_at(window, g, chunk), chunk.bytes - (window.epoch > 2) * sizeof(T));",
        options="--buffers private",
        first=511,
    ),
    "one element from another node is an earlier call's": Defect(
        "fabric/mapped.cuh",
        "copy(staging(rank) + offset, source, bytes);\n        block_sync();",
        "copy(staging(rank) + offset, source, bytes - (value > 2) * 4);",
        options="--nodes 2",
        first=1023,
    ),
    "the mean is of too few ranks": Defect(
        "reduction.cuh", "static_cast<D>(ranks)", "static_cast<D>(ranks - 1)",
        ranks=3,
        options="--op avg --dtype int32",
    ),
    "one element too many is written": Defect(
        "span.cuh",
        "i = vectors * lanes + thread_index(); i < count;",
        "i = vectors * lanes + thread_index(); i <= count;",
        first=1024,
    ),
}  # fmt: skip


# The others are slow ones: the explorers find their like in less time.
QUICK = ("the tail of a slice is dropped", "one element from another node is an earlier call's")


@pytest.mark.parametrize(
    "defect",
    [
        pytest.param(defect, id=name, marks=[] if name in QUICK else [pytest.mark.slow])
        for name, defect in DEFECTS.items()
    ],
)
def test_a_broken_kernel_is_found(run_command, tmp_path, defect):
    break_kernels(tmp_path / "kernels", defect)
    done, record = sweep(run_command, tmp_path, defect)
    assert done.code == 3, done.stderr[-4000:]
    assert record["run"]["status"] == "failed"
    assert [error["type"] for error in record["errors"]] == ["WrongResult"]
    check = record["results"][-1]["check"]
    first = check["first_wrong"]
    assert check["status"] == "failed"
    assert check["wrong"] >= 1
    assert defect.first in (None, first["index"])
    (message,) = [line for line in done.stderr.splitlines() if "gave a wrong result" in line]
    behind = " (not of the output)" if first["index"] >= defect.size // 4 else ""
    assert message.endswith(
        f"; first on rank {first['rank']}, element {first['index']}{behind}: "
        f"expected {first['expected']}, saw {first['seen']}"
    )
    assert message == f"nvrar-bench: error: {record['errors'][0]['message']}"


def test_the_same_kernels_unbroken_pass(run_command, tmp_path):
    """What the defects above are found by is not the folder they are in."""
    shutil.copytree(KERNELS, tmp_path / "kernels")
    done, record = sweep(run_command, tmp_path, Defect("", "", ""))
    assert (done.code, record["run"]["status"]) == (0, "complete")
    assert record["results"][0]["check"]["status"] == "passed"


def break_kernels(folder: Path, defect: Defect) -> None:
    shutil.copytree(KERNELS, folder)
    file = folder / defect.file
    text = file.read_text()
    assert text.count(defect.old) == 1, f"{defect.file} has changed: adapt the defect"
    file.write_text(text.replace(defect.old, defect.new))


def sweep(run_command, folder: Path, defect: Defect) -> tuple:
    done = run_command(
        "sweep", "--ranks", defect.ranks, "--sizes", defect.size, *defect.options.split(),
        "--backend", "nvrar", "--iters", 3, "--warmup", 0, "--json", folder / "run.json",
        environment={"NVRAR_BENCH_KERNELS": str(folder / "kernels")},
    )  # fmt: skip
    return done, json.loads((folder / "run.json").read_text())
