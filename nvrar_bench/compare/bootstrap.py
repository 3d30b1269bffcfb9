"""The interval of a ratio of two medians, by a bootstrap over launches and their samples.

docs/compare.md derives it and says how well it covers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, exp, log

import numpy as np

from nvrar_bench.compare.blocks import Blocks, blocks_of
from nvrar_bench.compare.samples import Samples, centre, figure
from nvrar_bench.measure.student import NORMAL_975, t_975

CONFIDENCE = 0.95
REPLICATES = 2000
_TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
_POOL = 200  # resampled medians of a launch, at least
_BATCH = 2_000_000  # samples drawn at a time
_LARGEST = 690.0  # of a logarithm whose exponential a float holds


@dataclass(frozen=True, eq=False)
class Spread:
    """What chance does to the figure of a result.

    `deviations`, shape (REPLICATES,), are those of the figure's logarithm; `freedom` is the degrees
    of freedom on which they rest.
    """

    figure: float
    deviations: Samples
    freedom: float

    @property
    def variance(self) -> float:
        """Of the figure's logarithm."""
        return float(self.deviations.var())


@dataclass(frozen=True)
class Estimate:
    """A figure or a ratio with its 95 % interval."""

    value: float
    low: float
    high: float


def spread_of(launches: Sequence[Samples], generator: np.random.Generator) -> Spread:
    """Resample `launches`, each an array of positive samples, REPLICATES times."""
    size = max(_POOL, REPLICATES // len(launches))
    blocks = [blocks_of(samples) for samples in launches]
    medians = np.log([float(np.median(samples)) for samples in launches])
    pools = np.stack(
        [
            one.widening * (np.log(_resampled_medians(samples, one, size, generator)) - median)
            for samples, one, median in zip(launches, blocks, medians, strict=True)
        ]
    )
    if len(launches) == 1:
        drawn = len(launches[0]) / blocks[0].length
        return Spread(figure(launches), pools[0], max(1.0, drawn - 1))
    deviations = _between_and_within(medians, pools, generator)
    return Spread(figure(launches), deviations, float(len(launches) - 1))


def ratio(base: Spread, new: Spread) -> Estimate:
    """Return new / base with its interval; the two runs are independent.

    The degrees of freedom are those of B. L. Welch, Biometrika 34, 1947.
    """
    a, b = base.variance, new.variance
    rest = a**2 / base.freedom + b**2 / new.freedom
    freedom = (a + b) ** 2 / rest if rest > 0 else np.inf
    return _estimate(new.figure / base.figure, new.deviations - base.deviations, freedom)


def own_interval(spread: Spread) -> Estimate:
    """Return the figure of a run with its interval."""
    return _estimate(spread.figure, spread.deviations, spread.freedom)


def _estimate(value: float, deviations: Samples, freedom: float) -> Estimate:
    """Stretch the percentiles of `deviations` by how much wider t is than a normal variable."""
    low, high = t_975(max(1.0, freedom)) / NORMAL_975 * np.quantile(deviations, _TAILS)
    bounds = (log(value) + min(low, 0.0), log(value) + max(high, 0.0))
    return Estimate(value, *(exp(min(max(bound, -_LARGEST), _LARGEST)) for bound in bounds))


def _resampled_medians(
    samples: Samples, blocks: Blocks, size: int, generator: np.random.Generator
) -> Samples:
    """Return the medians of `size` resamples, each of circular blocks of neighbours.

    Ranks stand for samples: they sort several times faster.
    """
    n = len(samples)
    ordered = np.sort(samples)
    kind = np.uint16 if n <= 2**16 else np.uint32
    ranks = np.searchsorted(ordered, samples).astype(kind)
    circle = np.concatenate([ranks, ranks[: blocks.length - 1]])
    windows = np.lib.stride_tricks.sliding_window_view(circle, blocks.length)
    batch = max(1, _BATCH // n)
    medians = []
    for done in range(0, size, batch):
        rows = min(batch, size - done)
        starts = generator.integers(0, n, (rows, ceil(n / blocks.length)), dtype=np.int32)
        drawn = np.sort(windows[starts].reshape(rows, -1)[:, :n], axis=1)
        medians.append((ordered[drawn[:, (n - 1) // 2]] + ordered[drawn[:, n // 2]]) / 2)
    return np.concatenate(medians)


def _between_and_within(
    medians: Samples, pools: Samples, generator: np.random.Generator
) -> Samples:
    """Draw launches, and of each one of its resampled medians; return deviations of the median.

    `medians`, shape (L,), are those of the launches, and `pools`, shape (L, P), how far resampled
    ones lie from them; all are logarithms. The launches' medians differ also because each has few
    samples. Drawing both launches and samples would count that twice, so the medians are first
    drawn together or apart until the variance of what is drawn is that of the launches' medians,
    with L - 1 in its denominator (A. C. Davison, D. V. Hinkley, Bootstrap Methods and their
    Application, Cambridge 1997, section 3.8).
    """
    count = len(medians)
    within = float(pools.var(axis=1).mean())
    total = float(medians.var(ddof=1))
    scale = np.sqrt(count / (count - 1) * max(0.0, 1 - within / total)) if total > 0 else 0.0
    around = scale * (medians - centre(medians))
    launch = generator.integers(0, count, (REPLICATES, count))
    member = generator.integers(0, pools.shape[1], (REPLICATES, count))
    deviations: Samples = centre(around[launch] + pools[launch, member])
    return deviations
