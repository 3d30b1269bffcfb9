"""How often the interval of a ratio that `compare` gives holds the true ratio, and how wide it is.

    python ci/compare_coverage.py [--trials 400] [--seed 1]

Samples are made up: launches of 100, log-normal with a standard deviation of 4 % and a tail to the
right, and go through the code that the samples of two runs go through. Cells are the coverage and
half of the mean width. Exit code 1 where runs of 2 launches and more are covered in less than 92 %.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from math import sqrt

import numpy as np
from coverage import following

from nvrar_bench.statistics.bootstrap import ratio_interval, spread_of
from nvrar_bench.statistics.independence import Floats
from nvrar_bench.statistics.median import Interval

SAMPLES = 100
NOISE = 0.018  # of the logarithm's exponential; the standard deviation is 2.16 times that
LEAST = 0.92
COUNTS = ((1, 1), (2, 2), (3, 3), (5, 5), (10, 10), (3, 10))


@dataclass(frozen=True)
class Kind:
    """What differs between launches, as a standard deviation, and how neighbours are correlated."""

    title: str
    between: float = 0.0
    correlation: float = 0.0


KINDS = (
    Kind("alike"),
    Kind("differ by 0.5 %", between=0.005),
    Kind("differ by 2 %", between=0.02),
    Kind("correlation 0.6", correlation=0.6),
    Kind("correlation 0.9", correlation=0.9),
)


def launch(kind: Kind, random: np.random.Generator) -> Floats:
    """The samples of a launch, whose true median is 1, but for what differs between launches."""
    shocks = random.standard_normal(SAMPLES)
    shocks[1:] *= sqrt(1 - kind.correlation**2)
    logs = following(shocks, kind.correlation)
    centre = float(np.exp(kind.between * random.standard_normal()))
    return centre * (1 + NOISE * (np.exp(logs) - 1))


def trial(kind: Kind, counts: tuple[int, int], seed: tuple[int, ...]) -> Interval:
    """Compare two runs of so many launches that are the same."""
    random = np.random.default_rng(seed)
    base, new = (spread_of([launch(kind, random) for _ in range(n)], random) for n in counts)
    return ratio_interval(base, new)


def cell(kind: Kind, counts: tuple[int, int], seed: int, trials: int) -> tuple[float, float]:
    """Coverage, and half of the mean width."""
    found = [trial(kind, counts, (seed, *counts, i)) for i in range(trials)]
    covered = np.mean([one.low <= 1 <= one.high for one in found])
    return float(covered), float(np.mean([one.high - one.low for one in found])) / 2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    every = list(product(COUNTS, KINDS))
    print(f"| launches | {' | '.join(kind.title for kind in KINDS)} |")
    print("|---" * (1 + len(KINDS)) + "|")
    with ProcessPoolExecutor() as pool:
        rest = [arguments.seed] * len(every), [arguments.trials] * len(every)
        counts, kinds = zip(*every, strict=True)
        found = list(pool.map(cell, kinds, counts, *rest))
    for row, (base, new) in enumerate(COUNTS):
        cells = found[row * len(KINDS) : (row + 1) * len(KINDS)]
        shown = " | ".join(f"{covered:.1%}, {width:.1%}" for covered, width in cells)
        print(f"| {base} and {new} | {shown} |".replace("%", " %"))
    several = found[len(KINDS) :]
    return 0 if all(covered >= LEAST for covered, _ in several) else 1


if __name__ == "__main__":
    sys.exit(main())
