"""Every fault of one rank at every moment of a run: how it ends, what it says, what it leaves.

fault_table.py holds the table. The runs wait for deadlines most of the time, so several go at once.
NVRAR_BENCH_TEST_FAULTS=all runs every fault of rank 0 and of another rank, not of either in turn;
`quick` runs a few.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from broken import FAULTS, ITERS, spoil_kernels
from fault_table import CASES, SIZES, Cell, cells
from output import messages, read

SCRIPT = Path(__file__).with_name("broken.py")
RANKS, AT_ONCE = 3, 4
TIMEOUT_S = 12  # ranks of several runs start on few cores
SOON_S = 40.0  # from the deadline to the end of everything
STARTING_S = 30.0  # until ranks of so many runs have been loaded, and begin to wait for another
SWEEP = ["sweep", "--backend", "nvrar", "--device", "cpu", "-w", 0]
CELLS = cells(FAULTS, os.environ.get("NVRAR_BENCH_TEST_FAULTS", ""))


class End(NamedTuple):
    """What came of a run; `seconds` from the fault until no process of it is left."""

    done: Any
    path: Path
    seconds: float


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory, kernel_cache: Path) -> dict[str, str]:
    """Kernels that heed $BROKEN, compiled ahead: the deadlines are short."""
    folder = tmp_path_factory.mktemp("broken") / "kernels"
    spoil_kernels(folder)
    environment = {"NVRAR_BENCH_KERNELS": str(folder)}
    words = [*SWEEP, "--sizes", SIZES[0], "-n", 1]
    command = [sys.executable, "-m", "nvrar_bench", *map(str, words)]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **environment})
    return environment


@pytest.fixture(scope="module")
def ends(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, new_jobs: Any,
    mpirun: Any, mpirun_environment: Callable[[], dict[str, str]], kernels: dict[str, str],
) -> Iterator[Callable[[Cell], End]]:  # fmt: skip
    """`ends(cell)`: what came of its run. All chosen runs begin at once."""
    folder = tmp_path_factory.mktemp("records")
    case = folder / "two.toml"
    case.write_text(CASES)
    whole = mpirun(RANKS, *SWEEP, "--case", case, "-n", ITERS)

    def run(cell: Cell, path: Path) -> End:
        mark = path.with_suffix(".at")
        words = [cell.moment, cell.fault, cell.victim, *whole[6:], "-T", TIMEOUT_S, "--json", path]
        jobs = new_jobs()
        environment = {**mpirun_environment(), **kernels, "BROKEN_AT": str(mark)}
        done = jobs.run(
            [*whole[:4], str(SCRIPT), *map(str, words)], environment=environment, timeout=150.0
        )
        jobs.check_nothing_left()
        ended = time.time()
        assert mark.exists(), f"{cell} never came to pass: {done}"
        return End(done, path, ended - mark.stat().st_mtime)

    begun: dict[Cell, Future[End]] = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for number, cell in enumerate(_chosen(request)):
            begun[cell] = pool.submit(run, cell, folder / f"{number}.json")
        yield lambda cell: begun[cell].result()
        for future in begun.values():
            future.cancel()


def _chosen(request: pytest.FixtureRequest) -> list[Cell]:
    """The cells that this session's -k and the like have left."""
    items = [item for item in request.session.items if item.fspath == request.fspath]
    return [item.callspec.params["cell"] for item in items if hasattr(item, "callspec")]


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_one_message_one_code_and_a_valid_record(ends: Callable[[Cell], End], cell: Cell):
    done, path, seconds = ends(cell)
    if cell.fault != "slow":
        assert seconds <= TIMEOUT_S + SOON_S + (STARTING_S if cell.moment == "import" else 0.0)
    if cell.before_start:  # the launcher says what there is to say, with its own code
        assert done.code != 0
        assert not path.exists()
        return
    assert done.code in _codes(cell), done.stderr
    _require_message(cell, done.stderr)
    _require_record(cell, path)


def _codes(cell: Cell) -> tuple[int, ...]:
    """9 and 255 are Hydra's own, where it kills a process that has no supervisor yet."""
    unsupervised = cell.moment == "import" and cell.fault in ("never", "stopped")
    return (cell.code, 9, 255) if unsupervised else (cell.code,)


def _require_message(cell: Cell, stderr: str) -> None:
    said = messages(stderr)
    if cell.fault == "slow":
        assert said == []
        return
    assert len(said) == 1, stderr
    for words in cell.words(socket.gethostname()):
        assert words in said[0]


def _require_record(cell: Cell, path: Path) -> None:
    if cell.results is None:
        assert not path.exists()
        return
    record = read(path)
    finished = [one for one in record["results"] if one["stop_reason"] != "unfinished"]
    assert [result["size_bytes"] for result in finished] == [*SIZES[: cell.results]]
    assert all(result["check"]["status"] == "passed" for result in finished)
    assert record["run"]["status"] == cell.status
    assert len(record["errors"]) == (cell.status == "failed")
    assert (record["run"]["finished_at"] is None) == (cell.status == "interrupted")
