"""How often the median's 95 % interval holds the true median, and how often a doubt is raised.

    python ci/coverage.py [--trials 2000] [--seed 1]

Samples are made up, of distributions whose median is known, and go through the code that a run's
samples go through. One row per kind of samples. Exit code 1 where a row fails its criterion:

- `holds`: the interval holds the median in 93 to 97 % of trials, and a drift is reported in 3 % at
  most. Where an interval of the row is exact and has to cover more, that is the upper limit.
- `warned`: there is a doubt in 90 % of trials and more.
- `-`: none; see docs/method.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from math import sqrt
from statistics import NormalDist
from typing import Literal

import numpy as np
import numpy.typing as npt

from nvrar_bench.statistics.figures import figures

Floats = npt.NDArray[np.float64]
Random = np.random.Generator
CENTRE = 100.0
SPREAD = 0.1
SPIKES = 0.02


@dataclass(frozen=True)
class Kind:
    """Samples of one kind: `make` returns those of one launch, whose true median is `median`."""

    name: str
    make: Callable[[Random], Floats]
    criterion: Literal["holds", "warned", "-"]
    median: float
    launches: int = 1
    at_most: float = 0.97


@dataclass(frozen=True)
class Row:
    """Parts of the trials: interval holds the median, there is none, a doubt, doubt of a drift."""

    covered: float
    without: float
    doubted: float
    drifting: float
    effective: float


def quantile(part: float) -> float:
    """Return the log-normal's quantile; its spread is that of its logarithm."""
    return CENTRE * float(np.exp(SPREAD * NormalDist().inv_cdf(part)))


def spiked(random: Random, logs: Floats) -> Floats:
    """Make times of normal logarithms; each is 1000 times as long with probability SPIKES."""
    times = CENTRE * np.exp(SPREAD * logs)
    return np.where(random.random(len(times)) < SPIKES, 1000 * times, times)


def independent(count: int, random: Random) -> Floats:
    return spiked(random, random.normal(size=count))


def autoregressive(count: int, phi: float, random: Random) -> Floats:
    """Logarithms follow x(i) = phi x(i - 1) + noise."""
    noise = random.normal(size=count) * sqrt(1 - phi**2)
    noise[0] = random.normal()
    return spiked(random, following(noise, phi))


def following(noise: Floats, phi: float) -> Floats:
    """Return x(i) = phi x(i - 1) + noise(i), from x(-1) = 0."""
    return np.array(list(accumulate(noise.tolist(), lambda last, term: phi * last + term)))


def turns(count: int, share: float, random: Random) -> Floats:
    """Twenty turns; `share` of the variance of the logarithms is common to those of a turn."""
    of_turn = np.repeat(random.normal(size=20), count // 20)
    return spiked(random, sqrt(share) * of_turn + sqrt(1 - share) * random.normal(size=count))


def two_modes(count: int, upper: float, random: Random) -> Floats:
    """A mode three times as high as the other holds `upper` of the samples, in no order."""
    return independent(count, random) * np.where(random.random(count) < upper, 3, 1)


def quantised(count: int, random: Random) -> Floats:
    """A clock with steps of a tenth of the median."""
    return np.round(independent(count, random), -1)


def trend(count: int, by: float, random: Random) -> Floats:
    return independent(count, random) * np.linspace(1, 1 + by, count)


def step(count: int, at: float, by: float, random: Random) -> Floats:
    return independent(count, random) * np.where(np.arange(count) < at * count, 1, 1 + by)


def start(count: int, by: float, random: Random) -> Floats:
    """A start that settles with a time constant of a tenth of the samples."""
    return independent(count, random) * (1 + by * np.exp(-10 * np.arange(count) / count))


def states(count: int, stay: float, random: Random) -> Floats:
    """Two states, the second 30 % slower, that last for `stay` samples each on average."""
    switches = random.random(count) < 1 / stay
    slow = (np.cumsum(switches) + random.integers(2)) % 2
    return independent(count, random) * np.where(slow, 1.3, 1)


def launch(count: int, random: Random) -> Floats:
    """A launch is slower or faster as a whole, as much as its samples among each other."""
    return independent(count, random) * float(np.exp(SPREAD * random.normal()))


def kinds() -> list[Kind]:
    """Return all rows of the table."""
    centre = quantile(0.5 / (1 - SPIKES))
    rows = [
        Kind(f"independent, n = {n}", partial(independent, n), "holds", centre, at_most=most)
        for n, most in ((20, 0.98), (100, 0.98), (200, 0.975), (1000, 0.97))
    ]
    for n in (100, 200, 1000):
        for phi in (0.3, 0.5, 0.7, 0.9, 0.98):
            held = phi <= 0.7 or (n == 1000 and phi == 0.9)
            criterion: Literal["holds", "warned"] = "holds" if held else "warned"
            make = partial(autoregressive, n, phi)
            rows.append(Kind(f"AR(1), {phi}, n = {n}", make, criterion, centre, 1, 0.975))
    rows += [
        Kind(f"20 turns, {share:.0%}, n = {n}", partial(turns, n, share), "-", centre)
        for n in (200, 1000)
        for share in (0.05, 0.3)
    ]
    rows += [
        Kind(
            f"two modes, {upper:.0%} above, n = 200", partial(two_modes, 200, upper), "holds",
            quantile(0.5 / (1 - upper) / (1 - SPIKES)), at_most=0.975,
        )
        for upper in (0.3, 0.48)
    ]  # fmt: skip
    rows.append(Kind("clock of 10 % steps, n = 200", partial(quantised, 200), "holds", 100.0, 1, 1))
    rows += [
        Kind("start 50 % slower, n = 200", partial(start, 200, 0.5), "warned", centre),
        Kind("start 30 % slower, n = 1000", partial(start, 1000, 0.3), "warned", centre),
        Kind("trend of 30 %, n = 200", partial(trend, 200, 0.3), "warned", 1.15 * centre),
        Kind("trend of 10 %, n = 1000", partial(trend, 1000, 0.1), "warned", 1.05 * centre),
        Kind("step of 20 % at 1/2, n = 200", partial(step, 200, 0.5, 0.2), "warned", centre),
        Kind("step of 20 % at 4/5, n = 1000", partial(step, 1000, 0.8, 0.2), "warned", centre),
        Kind("states of 20 samples, n = 200", partial(states, 200, 20), "-", 1.15 * centre),
        Kind("states of 60 samples, n = 200", partial(states, 200, 60), "-", 1.15 * centre),
        Kind("states of 100, n = 1000", partial(states, 1000, 100), "-", 1.15 * centre),
        Kind("states of 300, n = 1000", partial(states, 1000, 300), "-", 1.15 * centre),
    ]
    rows += [
        Kind(f"{many} launches of 100", partial(launch, 100), "holds", centre, many, most)
        for many, most in ((2, 0.97), (3, 0.97), (5, 0.97), (6, 0.98), (10, 0.99))
    ]
    return rows


def study(kind: Kind, seed: tuple[int, int], trials: int) -> Row:
    """Make `trials` results of one kind."""
    random = np.random.default_rng(seed)
    covered = without = doubted = drifting = 0
    effective = 0.0
    for _ in range(trials):
        parts = [kind.make(random) for _ in range(kind.launches)]
        counts = [len(part) for part in parts]
        found = figures(np.concatenate(parts), counts, (), None)  # type: ignore[arg-type]
        low, high = found.latency_us.ci95_low, found.latency_us.ci95_high
        if low is None or high is None:
            without += 1
        else:
            covered += low <= kind.median <= high
        doubted += bool(found.doubts)
        drifting += any(" lie" in text for text in found.doubts)
        effective += found.independence.effective_samples / sum(counts)
    with_interval = max(1, trials - without)
    return Row(
        covered / with_interval, without / trials, doubted / trials, drifting / trials,
        effective / trials,
    )  # fmt: skip


def passes(kind: Kind, row: Row, slack: float = 0.0) -> bool:
    """Say whether the row meets its kind's criterion, `slack` aside."""
    if kind.criterion == "warned":
        return row.doubted >= 0.9 - slack
    if kind.criterion == "holds":
        return 0.93 - slack <= row.covered <= kind.at_most + slack and row.drifting <= 0.03 + slack
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    every = kinds()
    seeds = [(arguments.seed, place) for place in range(len(every))]
    print("| samples | holds the median | no interval | a doubt | of a drift | n_eff / n | |")
    print("|---|---|---|---|---|---|---|")
    good = True
    with ProcessPoolExecutor() as pool:
        for kind, row in zip(
            every, pool.map(study, every, seeds, [arguments.trials] * len(every)), strict=True
        ):
            met = passes(kind, row)
            good = good and met
            shares = (row.covered, row.without, row.doubted, row.drifting)
            cells = " | ".join(f"{100 * share:.1f} %" for share in shares)
            mark = kind.criterion + ("" if met else ", FAILED")
            print(f"| {kind.name} | {cells} | {row.effective:.2f} | {mark} |", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
