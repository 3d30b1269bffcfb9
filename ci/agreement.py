"""Agreement with IMB-MPI1 on MPI_Allreduce: Intel MPI, 2 ranks, the best of some runs of each.

    python ci/agreement.py --intel VENV [--runs 3] [--iterations 1000]

IMB times a loop of calls and divides; this suite times each call from a synchronised start and
takes the maximum over ranks. Where both are right they agree. Buffers are plain memory, as IMB's.
IMB's figure is a mean, so it is compared with our mean, of the samples that our median is of; the
median is printed beside it. A mean holds all that the machine did meanwhile, so IMB's best needs
more runs where that is much: the worst is printed too. Exit code 1 if the best means differ by more
than the limits.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from nvrar_bench.compare.samples import launches_of
from nvrar_bench.measure.states import common_state
from nvrar_bench.results.figures import stretches_of
from nvrar_bench.results.reader import read_record
from nvrar_bench.results.record import Result

LIMITS = {128 << 10: 0.10, 256 << 10: 0.05, 512 << 10: 0.05, 1 << 20: 0.05, 2 << 20: 0.05}


def environment(venv: Path) -> dict[str, str]:
    """IMB finds neither its launcher's helpers nor its libraries by itself."""
    return os.environ | {
        "PATH": f"{venv / 'bin'}:{os.environ['PATH']}",
        "LD_LIBRARY_PATH": str(venv / "lib"),
    }


def imb(venv: Path, iterations: int) -> dict[int, float]:
    """t_max of every size, in microseconds."""
    program = [str(venv / "bin" / "mpirun"), "-n", "2", str(venv / "bin" / "IMB-MPI1")]
    options = ["allreduce", "-npmin", "2", "-msglog", "17:21", "-iter", str(iterations)]
    output = subprocess.run(
        [*program, *options, "-iter_policy", "off"], env=environment(venv), check=True,
        capture_output=True, text=True,
    ).stdout  # fmt: skip
    rows = (line.split() for line in output.splitlines())
    times = {int(row[0]): float(row[3]) for row in rows if len(row) == 5 and row[0].isdigit()}
    return {size: times[size] for size in LIMITS}


def ours(venv: Path, iterations: int) -> dict[int, tuple[float, float]]:
    """Our mean and median of every size, in microseconds."""
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "run.json"
        command = [
            str(venv / "bin" / "nvrar-bench"), "sweep", "--ranks", "2", "--backend", "mpi",
            "--buffers", "private", "--iters", str(iterations), "--json", str(record),
        ]  # fmt: skip
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        results = read_record(record).results
    return {r.size_bytes: (mean_in_state(r), r.latency_us.median) for r in results}


def mean_in_state(result: Result) -> float:
    """The mean of the samples that the median is of."""
    stretches = stretches_of(result)
    (chosen,) = common_state(stretches).chosen
    return float(np.concatenate(launches_of(result, stretches, chosen)).mean())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--intel", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=1000)
    arguments = parser.parse_args()
    theirs_all, ours_all = [], []
    for _ in range(arguments.runs):
        theirs_all.append(imb(arguments.intel, arguments.iterations))
        ours_all.append(ours(arguments.intel, arguments.iterations))
    agree = True
    for size, limit in LIMITS.items():
        means = [run[size] for run in theirs_all]
        ours_here = [run[size] for run in ours_all]
        (mine, _), (my_worst, _) = min(ours_here), max(ours_here)
        median = min(median for _, median in ours_here)
        theirs, their_worst = min(means), max(means)
        difference = mine / theirs - 1
        mark = "" if abs(difference) <= limit else "  MISSED"
        agree = agree and not mark
        print(
            f"{size >> 10:5}K  IMB-MPI1 {theirs:7.2f} to {their_worst:7.2f} us  nvrar-bench "
            f"{mine:7.2f} to {my_worst:7.2f} us, median {median:7.2f} us  best: "
            f"{difference:+7.1%} (limit {limit:.0%}){mark}"
        )
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
