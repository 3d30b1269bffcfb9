"""The interval of a ratio of two medians, by a bootstrap over launches and their samples.

docs/method.md derives it; docs/measurements/simulations.md says how well it covers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, exp, log, log10, sqrt

import numpy as np
import numpy.typing as npt

from nvrar_bench.statistics.independence import Floats, autocovariances, sides
from nvrar_bench.statistics.median import NORMAL_975, Interval, t_975
from nvrar_bench.statistics.points import headline, medians_of

CONFIDENCE = 0.95
REPLICATES = 2000
_TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
_POOL = 200  # resampled medians of a launch, at least
# From so many launches on their medians suffice: they vary by what samples leave open, too.
_MEDIANS_ALONE = 50
_BATCH = 2_000_000  # samples drawn at a time
# Of more pairs a centre is no better known, but takes minutes; 90 launches have fewer.
MOST_PAIRS = 4096
_AT_ONCE = 2_000_000  # means of pairs in memory
_LARGEST = 690.0  # of a logarithm whose exponential a float holds


@dataclass(frozen=True)
class Blocks:
    """How to draw samples: in blocks of `length` neighbours, 1 if they are independent."""

    length: int
    widening: float  # of a standard deviation: few blocks of finite length vary too little


@dataclass(frozen=True, eq=False)
class Spread:
    """What chance does to the figure of a result."""

    figure: float  # the median that is shown
    centre: float  # what the interval lies around
    deviations: Floats  # of the centre's logarithm, shape (REPLICATES,)
    freedom: float  # degrees of freedom, on which they rest

    @property
    def variance(self) -> float:
        """Of the centre's logarithm."""
        return float(self.deviations.var())


def spread_of(launches: Sequence[Floats], generator: np.random.Generator) -> Spread:
    """Resample `launches`, each an array of positive samples, REPLICATES times."""
    medians = medians_of(launches)
    shown, logs = headline(medians), np.log(medians)
    # No launches to draw: samples alone vary, and --launch-spread stands for the rest.
    if len(launches) == 1:
        blocks = blocks_of(launches[0])
        pool = _pool(launches[0], blocks, REPLICATES, generator)
        return Spread(shown, shown, pool, max(1.0, len(launches[0]) / blocks.length - 1))
    if len(launches) < _MEDIANS_ALONE:
        size = max(_POOL, REPLICATES // len(launches))
        pools = np.stack([_pool(one, blocks_of(one), size, generator) for one in launches])
    else:
        pools = np.zeros((len(launches), 1))
    deviations = _between_and_within(logs, pools, generator)
    return Spread(shown, exp(float(centre(logs))), deviations, float(len(launches) - 1))


def ratio_interval(base: Spread, new: Spread) -> Interval:
    """Return the interval of new / base, of two independent runs; it holds the figures' ratio.

    The degrees of freedom are those of B. L. Welch, Biometrika 34, 1947.
    """
    a, b = base.variance, new.variance
    rest = a**2 / base.freedom + b**2 / new.freedom
    # Two runs without any variation are known without limit.
    freedom = (a + b) ** 2 / rest if rest > 0 else np.inf
    around = log(new.centre) - log(base.centre)
    return _interval(new.figure / base.figure, around, new.deviations - base.deviations, freedom)


def own_interval(spread: Spread) -> Interval:
    """Return the interval of a run's figure."""
    return _interval(spread.figure, log(spread.centre), spread.deviations, spread.freedom)


def _interval(value: float, around: float, deviations: Floats, freedom: float) -> Interval:
    """Stretch the percentiles of `deviations` by how much wider t is than a normal variable.

    The interval lies around the logarithm `around`, and holds `value`.
    """
    wider = t_975(max(1.0, freedom)) / NORMAL_975
    low, high = wider * np.quantile(deviations, _TAILS)
    # The figure is a median of medians and the centre is not: the interval has to hold both.
    return Interval(_exp(min(around + low, log(value))), _exp(max(around + high, log(value))))


def _exp(logarithm: float) -> float:
    return exp(min(max(logarithm, -_LARGEST), _LARGEST))


def _pool(samples: Floats, blocks: Blocks, size: int, generator: np.random.Generator) -> Floats:
    """Return how far the logarithms of `size` resampled medians lie from that of `samples`."""
    medians = np.log(_resampled_medians(samples, blocks, size, generator))
    return blocks.widening * (medians - log(float(np.median(samples))))


def _resampled_medians(
    samples: Floats, blocks: Blocks, size: int, generator: np.random.Generator
) -> Floats:
    """Return the medians of `size` resamples, each of circular blocks of neighbours.

    Ranks stand for samples: they sort several times faster.
    """
    n = len(samples)
    ordered = np.sort(samples)
    kind = np.uint16 if n <= 2**16 else np.uint32
    ranks = np.searchsorted(ordered, samples).astype(kind)
    # A circle: else the samples at both ends would be drawn less often than the others.
    circle = np.concatenate([ranks, ranks[: blocks.length - 1]])
    windows = np.lib.stride_tricks.sliding_window_view(circle, blocks.length)
    batch = max(1, _BATCH // n)
    medians = []
    # In batches: all resamples of 1e5 samples at once would take about a gigabyte.
    for done in range(0, size, batch):
        rows = min(batch, size - done)
        starts = generator.integers(0, n, (rows, ceil(n / blocks.length)), dtype=np.int32)
        drawn = np.sort(windows[starts].reshape(rows, -1)[:, :n], axis=1)
        # The two in the middle, which are one where n is odd.
        medians.append((ordered[drawn[:, (n - 1) // 2]] + ordered[drawn[:, n // 2]]) / 2)
    return np.concatenate(medians)


def _between_and_within(medians: Floats, pools: Floats, generator: np.random.Generator) -> Floats:
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
    deviations: Floats = centre(around[launch] + pools[launch, member])
    return deviations


def centre(values: Floats) -> Floats:
    """Return the median of the means of all pairs, shape (...), of `values`, shape (..., n).

    A value is its own pair too. One value far off moves it as little as a median, and it varies by
    5 % more than a mean of normal values, where a median varies by 57 % (J. L. Hodges,
    E. L. Lehmann, Estimates of Location Based on Rank Tests, Ann. Math. Stat. 34, 1963). Of more
    than MOST_PAIRS some are taken, in which each value comes as often as any other.
    """
    first, second = _pairs(values.shape[-1])
    rows = values.reshape(-1, values.shape[-1])
    batch = max(1, _AT_ONCE // len(first))
    found = np.empty(len(rows))
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        means = (part[:, first] + part[:, second]) / 2
        found[start : start + batch] = np.median(means, axis=-1, overwrite_input=True)
    return found.reshape(values.shape[:-1])


@lru_cache(maxsize=16)
def _pairs(count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return which of `count` values are taken in pairs: all, or each with some far from it."""
    if count * (count + 1) // 2 <= MOST_PAIRS:
        return np.triu_indices(count)
    steps = np.linspace(1, count // 2, max(1, MOST_PAIRS // count)).astype(np.int64)
    first = np.tile(np.arange(count), len(steps))
    return first, (first + np.repeat(steps, count)) % count


def blocks_of(samples: Floats) -> Blocks:
    """Find the blocks for `samples`, shape (n,).

    A median moves by how many samples lie above it, so what counts is the autocorrelation of the
    sides of the median that samples are on. The length is that of D. N. Politis, H. White,
    Automatic block-length selection for the dependent bootstrap, Econometric Reviews 23(1), 2004,
    for circular blocks, with the correction of A. Patton, D. N. Politis, H. White, ibid. 28(4),
    2009.
    """
    n = len(samples)
    covariances = autocovariances(sides(samples, float(np.median(samples)))) / n
    reach = max(5, ceil(sqrt(log10(max(n, 2)))))
    most = min(ceil(sqrt(n)) + reach, n - 1)
    lag = _last_correlated(covariances, reach, most)
    if lag == 0:
        return Blocks(1, sqrt(n / (n - 1)) if n > 1 else 1.0)
    width = min(2 * lag, most)
    lags = np.arange(1, width + 1)
    weights = np.minimum(1.0, 2 * (1 - lags / width))  # a flat top and straight flanks
    slope = 2 * float(np.sum(weights * lags * covariances[lags]))
    spectrum = float(covariances[0] + 2 * np.sum(weights * covariances[lags]))
    longest = max(1, ceil(min(3 * sqrt(n), n / 3)))
    length = longest
    if spectrum > 0:
        best: float = (2 * slope**2 / (4 / 3 * spectrum**2) * n) ** (1 / 3)
        length = min(max(1, ceil(best)), longest)
    return Blocks(length, _widening(covariances, length, spectrum))


def _widening(covariances: Floats, length: int, spectrum: float) -> float:
    """Compare what blocks of `length` vary with `spectrum`, and n/l blocks with endless ones.

    The variance of a mean of drawn blocks is that of the autocovariances with weights that fall
    from 1 to 0 over the block; a flat top has less bias (Politis and White, as above).
    """
    n = len(covariances)
    weights = 1 - np.arange(1, length) / length
    drawn = float(covariances[0] + 2 * np.sum(weights * covariances[1:length]))
    lost = max(1.0, spectrum / drawn) if drawn > 0 else 1.0
    return sqrt(lost * n / (n - length)) if n > length else 1.0


def _last_correlated(covariances: Floats, reach: int, most: int) -> int:
    """Return the smallest lag that `reach` insignificant ones follow, at most `most`.

    Significant is a correlation of 2 sqrt(log10(n) / n) and more.
    """
    n = len(covariances)
    if covariances[0] < 1e-12 or most < 1:  # all samples are alike
        return 0
    limit = 2 * sqrt(log10(n) / n) * covariances[0]
    significant = np.abs(covariances[1 : most + 1]) >= limit
    for lag in range(most):
        if not significant[lag : lag + reach].any():
            return lag
    return most
