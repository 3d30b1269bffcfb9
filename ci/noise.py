"""What the figures are worth on this machine: false alarms, missed slow-downs, spread, cost.

    python ci/noise.py alarms [--pairs 40] [--launches 3]
        the same sweep twice: how many points `compare` calls faster or slower
    python ci/noise.py power [--pairs 40] [--launches 3]
        MPI slowed by 10 % in the second sweep: how many of its points `compare` calls slower
    python ci/noise.py spread --launches 10
        max / min over launches of the median, and of the mean of the same samples
    python ci/noise.py cost
        seconds of a sweep to 1 %, and what ended its points

Each prints a table and leaves its records in --out. 2 ranks, 128K to 2M, Open MPI of this Python.
Exit code 1 if a limit is missed. Run it alone on the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from nvrar_bench.compare.states import common_launches

MOST_ALARMS = 0.05
LEAST_POWER = 0.95
LEAST_STEADINESS = 5.0  # spread of means / spread of medians
MOST_SECONDS = 60.0
PRECISE = ("--precision", "2%", "--max-time", "0.3")
SLOWED = Path(__file__).with_name("slowed.py")
LAUNCH = "import sys; from nvrar_bench.launch import launcher; " \
    "sys.exit(launcher.launch(2, sys.argv[1:]))"  # fmt: skip

Record = dict[str, Any]


def sweep(path: Path, *options: str) -> Record:
    """Run a sweep on two ranks; its record."""
    words = ["sweep", "--backend", "mpi,nvrar", "--json", str(path), *options]
    run([sys.executable, "-m", "nvrar_bench", *words, "--ranks", "2"])
    record: Record = json.loads(path.read_text())
    return record


def launches(path: Path, count: int, factor: float) -> None:
    """`count` launches with MPI slowed by `factor`, merged into one record."""
    parts = [path.with_suffix(f".{number}.json") for number in range(count)]
    for number, part in enumerate(parts):
        words = ["sweep", "--backend", "mpi,nvrar", "--json", str(part), *PRECISE]
        own = {"NVRAR_BENCH_SLOWED": str(factor), "NVRAR_BENCH_LAUNCH": str(number)}
        run([sys.executable, "-c", LAUNCH, sys.executable, str(SLOWED), *words], own)
    merge = [sys.executable, "-m", "nvrar_bench", "merge", *map(str, parts)]
    run([*merge, "--json", str(path)])
    for part in parts:
        part.unlink()


def run(command: list[str], environment: dict[str, str] | None = None) -> None:
    """Run it, or end with what it said."""
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | (environment or {})
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")


def verdicts(base: Path, new: Path) -> list[dict[str, Any]]:
    """The points of a comparison; a regression is no failure here."""
    command = [sys.executable, "-m", "nvrar_bench", "compare", str(base), str(new), "--json", "-"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode not in (0, 6):
        sys.exit(f"compare ended with {done.returncode}: {done.stderr}")
    return list(json.loads(done.stdout)["comparisons"][0]["points"])


def pairs(arguments: argparse.Namespace, factor: float) -> Counter[tuple[str, str]]:
    """Compare so many pairs; how often each verdict came, by backend."""
    counted: Counter[tuple[str, str]] = Counter()
    for pair in range(arguments.pairs):
        names = ("base", "new" if factor == 1 else "slowed")
        base, new = (arguments.out / f"{pair:02}-{name}.json" for name in names)
        if not base.exists():  # the other question has it already
            launches(base, arguments.launches, 1.0)
        launches(new, arguments.launches, factor)
        apart = in_other_states(base, new)
        for point in verdicts(base, new):
            other = (point["backend"], point["size_bytes"]) in apart
            counted[point["backend"], "other state" if other else point["verdict"]] += 1
    for (backend, verdict), count in sorted(counted.items()):
        print(f"{backend:8} {verdict:10} {count:5}")
    return counted


def in_other_states(base: Path, new: Path) -> set[tuple[str, int]]:
    """Points at which no launch of the two runs found the machine in the same state."""
    old, now = (
        {
            (r["backend"], r["size_bytes"]): r["yardstick_us"]
            for r in json.loads(p.read_text())["results"]
        }
        for p in (base, new)
    )
    return {at for at in old if at in now and common_launches(old[at], now[at]).apart}


def alarms(arguments: argparse.Namespace) -> bool:
    """The same sweep twice."""
    counted = pairs(arguments, 1.0)
    false = sum(count for (_, verdict), count in counted.items() if verdict in ("faster", "slower"))
    part = false / counted.total()
    print(
        f"faster or slower: {false} of {counted.total()} = {part:.1%} (at most {MOST_ALARMS:.0%})"
    )
    return part <= MOST_ALARMS


def power(arguments: argparse.Namespace) -> bool:
    """MPI slowed by 10 %, where both runs have met one state of the machine."""
    counted = pairs(arguments, 1.10)
    of_mpi = sum(count for (backend, _), count in counted.items() if backend == "mpi")
    of_mpi -= counted["mpi", "other state"]
    part = counted["mpi", "slower"] / max(of_mpi, 1)
    print(f"mpi called slower: {part:.1%} of {of_mpi} (at least {LEAST_POWER:.0%})")
    return part >= LEAST_POWER


def spread(arguments: argparse.Namespace) -> bool:
    """Figures of each launch of one run, and means of the same samples."""
    record = sweep(arguments.out / "launches.json", "--launches", str(arguments.launches))
    spreads = []
    print("backend    size   median  max/min      mean  max/min")
    for result in record["results"]:
        cells = []
        for values in figures(result):
            cells += [statistics.median(values), max(values) / min(values)]
        spreads.append((cells[1], cells[3]))
        numbers = " ".join(f"{cell:8.2f}" for cell in cells)
        print(f"{result['backend']:8} {result['size_bytes'] >> 10:5}K {numbers}")
    median, mean = (statistics.median(of) for of in zip(*spreads, strict=True))
    print(
        f"spread, median over points: {median:.3f} of medians, {mean:.3f} of means: "
        f"{mean / median:.1f}x (at least {LEAST_STEADINESS:g}x)"
    )
    return mean / median >= LEAST_STEADINESS


def figures(result: dict[str, Any]) -> tuple[list[float], list[float]]:
    """The median and the mean of each launch, in microseconds; the mean of all its samples."""
    medians, means, first = [], [], 0
    for count in result["launch_samples"]:
        samples = result["samples_us"][first : first + count]
        late = {index - first for index in result["late"]}
        kept = [us for index, us in enumerate(samples) if index not in late]
        medians.append(statistics.median(kept or samples))
        means.append(statistics.mean(samples))
        first += count
    return medians, means


def cost(arguments: argparse.Namespace) -> bool:
    """Five sizes, two backends, to 1 %."""
    start = time.monotonic()
    record = sweep(arguments.out / "precise.json", "--precision", "1%")
    seconds = time.monotonic() - start
    reasons = Counter(result["stop_reason"] for result in record["results"])
    samples = [result["samples"] for result in record["results"]]
    print(f"{seconds:.1f} s (at most {MOST_SECONDS:g}); {min(samples)} to {max(samples)} samples")
    print(", ".join(f"{reason}: {count}" for reason, count in reasons.items()))
    for result in record["results"]:
        for text in result["warnings"]:
            print(f"{result['backend']} {result['size_bytes'] >> 10}K: {text}")
    return seconds <= MOST_SECONDS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["alarms", "power", "spread", "cost"])
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--launches", type=int, default=3, help="of each run; 10 for spread")
    parser.add_argument("--out", type=Path, default=Path("noise-records"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    held = globals()[arguments.what](arguments)
    print(f"{time.monotonic() - start:.0f} s; {'holds' if held else 'MISSED'}")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
