"""What the figures are worth on this machine: false alarms, missed slow-downs, spread, cost.

    python ci/noise.py verdicts [--pairs 40] [--launches 8] [--max-launches 20]
        the same sweep again and again, each compared with the one before: how many points
        `compare` calls faster or slower; and each with one whose MPI is slowed by 10 %, their
        launches in turns: in how many pairs it calls MPI slower, at one size or more, and how many
        points of MPI in all. Launches of a run go on until so many share a state of the machine,
        and `compare` looks at samples of one state
    python ci/noise.py spread [--launches 10] [--load 2]
        max / min over launches of the figure, of one state of the machine, and of the mean of all
        samples; with --load beside so many processes that work and sleep at random
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
from itertools import accumulate, pairwise
from multiprocessing import Process
from pathlib import Path
from random import Random
from typing import Any

from nvrar_bench.documents.record import RunRecord
from nvrar_bench.documents.run_file import Writer, read_record
from nvrar_bench.launch.repeat import Wanted
from nvrar_bench.statistics.merge import merge

MOST_ALARMS = 0.05
LEAST_POWER = 0.95
LEAST_STEADINESS = 5.0  # spread of means / spread of medians
MOST_SECONDS = 60.0
# Each call of MPI spins on until it has lasted so much longer; its ranks then meet differently, and
# what that comes to is printed.
SLOWER = 1.105
SIZES = ("--sizes", "128K,512K,2M")
PRECISE = ("--precision", "2%", "--max-time", "0.3")
ONE_STATE = "--one-state"
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


def launch(part: Path, number: int, factor: float) -> None:
    """Launch number `number` of a run, with MPI slowed by `factor`."""
    words = ["sweep", "--backend", "mpi,nvrar", "--json", str(part), *SIZES, *PRECISE, ONE_STATE]
    own = {"NVRAR_BENCH_SLOWED": str(factor), "NVRAR_BENCH_LAUNCH": str(number)}
    run([sys.executable, "-c", LAUNCH, sys.executable, str(SLOWED), *words], own)


def in_turns(wanted: Wanted, runs: dict[Path, float]) -> list[int]:
    """As many launches of each of `runs` as `wanted`, MPI slowed by its factor; how many.

    One record is left of each run.
    """
    so_far: dict[Path, RunRecord] = {}
    going_on = dict(runs)
    for number in range(wanted.last):
        for path, factor in list(going_on.items()):
            part = path.with_suffix(".part.json")
            launch(part, number, factor)
            before = [so_far[path]] if path in so_far else []
            so_far[path] = merge([*before, read_record(part)])
            part.unlink()
            if wanted.is_met(so_far[path]):
                del going_on[path]
    for path, record in so_far.items():
        Writer(path).write(record)
    return [int(record.settings["launches"]) for record in so_far.values()]


def run(command: list[str], environment: dict[str, str] | None = None) -> None:
    """Run it, or end with what it said."""
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | (environment or {})
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")


def verdicts(arguments: argparse.Namespace) -> bool:
    """The same sweep again and again, each beside a slowed one: their launches in turns."""
    same, slowed = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    ratios: list[float] = []
    found = 0  # pairs in which MPI was called slower
    wanted, launches = Wanted(arguments.launches or 8, arguments.max_launches), []
    before, first = None, time.monotonic()
    for number in range(arguments.pairs + 1):
        plain, slow = (arguments.out / f"{number:02}{end}.json" for end in ("", "-slowed"))
        launches += in_turns(wanted, {plain: 1.0, slow: SLOWER} if before else {plain: 1.0})
        if before:
            same.update((point["backend"], point["verdict"]) for point in compared(before, plain))
            points = compared(plain, slow)
            slowed.update((point["backend"], point["verdict"]) for point in points)
            of_mpi = [point for point in points if point["backend"] == "mpi"]
            ratios += [point["ratio"] for point in of_mpi]
            said = {point["verdict"] for point in of_mpi}
            found += "slower" in said and "faster" not in said
            print(f"{time.monotonic() - first:5.0f} s; {number} pairs: {shown(same)}")
            print(f"        slowed: {shown(slowed)}", flush=True)
        before = plain
    false = sum(count for (_, verdict), count in same.items() if verdict in ("faster", "slower"))
    alarms, power = false / same.total(), found / arguments.pairs
    average = statistics.mean(launches)
    print(f"{min(launches)} to {max(launches)} launches a run, {average:.1f} on average")
    print(f"the same, called faster or slower: {alarms:.1%} of {same.total()} points", end="; ")
    print(f"at most {MOST_ALARMS:.0%}")
    print(
        f"mpi slowed, called slower: in {power:.1%} of pairs; at least {LEAST_POWER:.0%}", end="; "
    )
    print(f"at {slowed['mpi', 'slower']} of {len(ratios)} points", end="; ")
    print(f"found to take {statistics.median(ratios):.3f} times as long")
    return alarms <= MOST_ALARMS and power >= LEAST_POWER


def compared(base: Path, new: Path) -> list[dict[str, Any]]:
    """The points of a comparison; a regression is no failure here."""
    words = ["compare", str(base), str(new), ONE_STATE, "--json", "-"]
    command = [sys.executable, "-m", "nvrar_bench", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode not in (0, 6):
        sys.exit(f"compare ended with {done.returncode}: {done.stderr}")
    return list(json.loads(done.stdout)["comparisons"][0]["points"])


def shown(counted: Counter[tuple[str, str]]) -> str:
    """The counts on one line."""
    found = sorted(counted.items())
    return ", ".join(f"{backend} {verdict} {count}" for (backend, verdict), count in found)


def spread(arguments: argparse.Namespace) -> bool:
    """Figures of each launch of one run, and means of the same samples."""
    launches = arguments.launches or 10
    with Load(arguments.load):
        path = arguments.out / "launches.json"
        record = sweep(path, "--launches", str(launches), ONE_STATE)
    ratios, states = [], []
    print("backend    size  figure  max/min  of      mean  max/min")
    for result in record["results"]:
        medians, means = result["launches"]["medians_us"], means_of(result)
        figure, mean = max(medians) / min(medians), max(means) / min(means)
        ratios.append((figure, mean))
        states.append(len(medians))
        print(f"{result['backend']:8} {result['size_bytes'] >> 10:5}K", end=" ")
        print(f"{statistics.median(medians):7.2f} {figure:8.3f} {len(medians):3}", end=" ")
        print(f"{statistics.median(means):9.2f} {mean:8.3f}")
    figure, mean = (statistics.median(of) for of in zip(*ratios, strict=True))
    print(
        f"max / min, median over points: {figure:.3f} of figures, of {min(states)} to "
        f"{max(states)} of {launches} launches; {mean:.3f} of means: {mean / figure:.1f}x (at "
        f"least {LEAST_STEADINESS:g}x); beyond 1: {(mean - 1) / (figure - 1):.1f}x"
    )
    return mean / figure >= LEAST_STEADINESS


def means_of(result: dict[str, Any]) -> list[float]:
    """The mean of all samples of each launch, in microseconds."""
    ends = list(accumulate(result["launch_samples"], initial=0))
    return [statistics.mean(result["samples_us"][a:b]) for a, b in pairwise(ends)]


class Load:
    """So many processes that work and sleep at random, while inside: what other users do."""

    def __init__(self, count: int) -> None:
        self._processes = [Process(target=work_and_sleep, args=(i,)) for i in range(count)]

    def __enter__(self) -> None:
        for process in self._processes:
            process.start()

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()


def work_and_sleep(seed: int) -> None:
    """For some seconds nothing, half or all of the time, then another part; some 10 ms at once."""
    random = Random(seed)
    while True:
        part, until = random.choice((0, 0, 0.5, 1)), time.monotonic() + random.uniform(3, 15)
        while time.monotonic() < until:
            end = time.monotonic() + random.expovariate(100) * part
            while time.monotonic() < end:
                pass
            time.sleep(random.expovariate(100) * (1 - part))


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
    parser.add_argument("what", choices=["verdicts", "spread", "cost"])
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--launches", type=int, help="of each run; 8, of spread 10")
    parser.add_argument("--max-launches", type=int, default=20, help="of verdicts")
    parser.add_argument("--load", type=int, default=0, help="processes beside the spread")
    parser.add_argument("--out", type=Path, default=Path("noise-records"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    held = globals()[arguments.what](arguments)
    print(f"{time.monotonic() - start:.0f} s; {'holds' if held else 'MISSED'}")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
