"""The interval of a ratio of two medians, by a bootstrap over launches and their samples.

docs/method.md derives it; docs/measurements/simulations.md says how well it covers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, exp, log, sqrt

import numpy as np

from nvrar_bench.statistics.blocks import Blocks, blocks_of
from nvrar_bench.statistics.median import NORMAL_975, t_975
from nvrar_bench.statistics.samples import Samples, centre, figure, medians_of

CONFIDENCE = 0.95
REPLICATES = 2000
_TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
_POOL = 200  # resampled medians of a launch, at least
# From so many launches on their medians tell alone: what samples leave open is in them.
_MEDIANS_ALONE = 50
_BATCH = 2_000_000  # samples drawn at a time
_LARGEST = 690.0  # of a logarithm whose exponential a float holds


@dataclass(frozen=True, eq=False)
class Spread:
    """What chance does to the figure of a result.

    `figure` is the median that is shown, `centre` what the interval lies around; `deviations`,
    shape (REPLICATES,), are those of the centre's logarithm; `freedom` is the degrees of freedom on
    which they rest.
    """

    figure: float
    centre: float
    deviations: Samples
    freedom: float

    @property
    def variance(self) -> float:
        """Of the centre's logarithm."""
        return float(self.deviations.var())


@dataclass(frozen=True)
class Estimate:
    """A figure or a ratio with its 95 % interval."""

    value: float
    low: float
    high: float


def spread_of(launches: Sequence[Samples], generator: np.random.Generator) -> Spread:
    """Resample `launches`, each an array of positive samples, REPLICATES times."""
    medians = medians_of(launches)
    shown, logs = figure(launches), np.log(medians)
    if len(launches) == 1:
        blocks = blocks_of(launches[0])
        pool = _pool(launches[0], blocks, REPLICATES, generator)
        return Spread(shown, shown, pool, max(1.0, len(launches[0]) / blocks.length - 1))
    if len(launches) < _MEDIANS_ALONE:
        size = max(_POOL, REPLICATES // len(launches))
        pools = np.stack([_pool(one, blocks_of(one), size, generator) for one in launches])
        deviations = _between_and_within(logs, pools, generator)
    else:
        deviations = _between(logs, generator)
    return Spread(shown, exp(float(centre(logs))), deviations, float(len(launches) - 1))


def ratio(base: Spread, new: Spread) -> Estimate:
    """Return new / base with its interval; the two runs are independent.

    The degrees of freedom are those of B. L. Welch, Biometrika 34, 1947.
    """
    a, b = base.variance, new.variance
    rest = a**2 / base.freedom + b**2 / new.freedom
    freedom = (a + b) ** 2 / rest if rest > 0 else np.inf
    around = log(new.centre) - log(base.centre)
    return _estimate(new.figure / base.figure, around, new.deviations - base.deviations, freedom)


def own_interval(spread: Spread) -> Estimate:
    """Return the figure of a run with its interval."""
    return _estimate(spread.figure, log(spread.centre), spread.deviations, spread.freedom)


def _estimate(value: float, around: float, deviations: Samples, freedom: float) -> Estimate:
    """Stretch the percentiles of `deviations` by how much wider t is than a normal variable.

    The interval lies around the logarithm `around`, and holds `value`.
    """
    low, high = t_975(max(1.0, freedom)) / NORMAL_975 * np.quantile(deviations, _TAILS)
    bounds = (min(around + low, log(value)), max(around + high, log(value)))
    return Estimate(value, *(exp(min(max(bound, -_LARGEST), _LARGEST)) for bound in bounds))


def _pool(samples: Samples, blocks: Blocks, size: int, generator: np.random.Generator) -> Samples:
    """Return how far the logarithms of `size` resampled medians lie from that of `samples`."""
    medians = np.log(_resampled_medians(samples, blocks, size, generator))
    return blocks.widening * (medians - log(float(np.median(samples))))


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


def _between(medians: Samples, generator: np.random.Generator) -> Samples:
    """Draw launches alone; return deviations of the centre of `medians`, which are logarithms.

    As `_between_and_within`, what is drawn has the variance with L - 1 in its denominator.
    """
    count = len(medians)
    around = sqrt(count / (count - 1)) * (medians - centre(medians))
    deviations: Samples = centre(around[generator.integers(0, count, (REPLICATES, count))])
    return deviations
