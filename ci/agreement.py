"""Agreement with IMB-MPI1 on MPI_Allreduce: Intel MPI, 2 ranks, the better of three launches.

    python ci/agreement.py --intel VENV [--runs 3] [--blocks 40]

IMB times each call behind a barrier and prints the mean of many; this suite times each call from a
synchronised start and takes the maximum over ranks. Where both are right they agree. Either launch
measures every size in so many blocks of 100 calls, the sizes in turns, so that a machine whose
speed changes is met by both alike: IMB by lengths that repeat, this suite by its samples in their
order. A launch's figure is the lower quartile of its blocks' means, those that other users
disturbed least; the median of one state of the machine (`--one-state`) is printed beside it.
Buffers are plain memory, as IMB's. Exit code 1 if the better figures differ by more than the
limits.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nvrar_bench.documents.result import Result
from nvrar_bench.documents.run_file import read_record

LIMITS = {128 << 10: 0.10, 256 << 10: 0.05, 512 << 10: 0.05, 1 << 20: 0.05, 2 << 20: 0.05}
CALLS = 100  # of a block
QUARTILE = 0.25

Means = npt.NDArray[np.float64]  # shape (blocks,), microseconds


def environment(venv: Path) -> dict[str, str]:
    """IMB finds neither its launcher's helpers nor its libraries by itself."""
    return os.environ | {
        "PATH": f"{venv / 'bin'}:{os.environ['PATH']}",
        "LD_LIBRARY_PATH": str(venv / "lib"),
    }


def imb(venv: Path, blocks: int) -> dict[int, Means]:
    """t_max of every block of every size."""
    with tempfile.TemporaryDirectory() as folder:
        lengths = Path(folder) / "lengths"
        lengths.write_text("".join(f"{size}\n" for size in [*LIMITS] * blocks))
        program = [str(venv / "bin" / "mpirun"), "-n", "2", str(venv / "bin" / "IMB-MPI1")]
        options = ["allreduce", "-npmin", "2", "-msglen", str(lengths), "-iter", str(CALLS)]
        output = subprocess.run(
            [*program, *options, "-iter_policy", "off"], env=environment(venv), check=True,
            capture_output=True, text=True,
        ).stdout  # fmt: skip
    rows = (line.split() for line in output.splitlines())
    times = [(int(row[0]), float(row[3])) for row in rows if len(row) == 5 and row[0].isdigit()]
    found = {size: np.array([us for of, us in times if of == size]) for size in LIMITS}
    if any(len(means) != blocks for means in found.values()):
        sys.exit(f"IMB-MPI1 did not print {blocks} rows of each size:\n{output}")
    return found


def ours(venv: Path, blocks: int) -> dict[int, tuple[Means, float]]:
    """The mean of every block of every size, and the median that the record states."""
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "run.json"
        command = [
            str(venv / "bin" / "nvrar-bench"), "sweep", "--ranks", "2", "--backend", "mpi",
            "--buffers", "private", "--one-state", "--iters", str(CALLS * blocks),
            "--json", str(record),
        ]  # fmt: skip
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        results = read_record(record).results
    return {r.size_bytes: (means_of(r), r.latency_us.median) for r in results}


def means_of(result: Result) -> Means:
    """The means of every CALLS samples, without the late ones: IMB's barrier knows none."""
    samples = np.array(result.samples_us)
    samples[list(result.late)] = np.nan
    return np.nanmean(samples.reshape(-1, CALLS), axis=1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--intel", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--blocks", type=int, default=40)
    arguments = parser.parse_args()
    theirs_all, ours_all = [], []
    for _ in range(arguments.runs):
        theirs_all.append(imb(arguments.intel, arguments.blocks))
        ours_all.append(ours(arguments.intel, arguments.blocks))
    agree = True
    for size, limit in LIMITS.items():
        theirs = [float(np.quantile(run[size], QUARTILE)) for run in theirs_all]
        mine = [float(np.quantile(run[size][0], QUARTILE)) for run in ours_all]
        median = min(run[size][1] for run in ours_all)
        difference = min(mine) / min(theirs) - 1
        mark = "" if abs(difference) <= limit else "  MISSED"
        agree = agree and not mark
        print(
            f"{size >> 10:5}K  IMB-MPI1 {min(theirs):7.2f} to {max(theirs):7.2f} us  nvrar-bench "
            f"{min(mine):7.2f} to {max(mine):7.2f} us, median {median:7.2f} us  better: "
            f"{difference:+7.1%} (limit {limit:.0%}){mark}"
        )
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
