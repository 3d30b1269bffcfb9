"""The bootstrap: to the digit against loops, against exact probabilities, SciPy, and simulation."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from itertools import combinations_with_replacement
from math import ceil, comb, exp, log, log10, sqrt
from statistics import median, pvariance, variance

import numpy as np
import pytest
from scipy import stats

from nvrar_bench.statistics import bootstrap
from nvrar_bench.statistics.bootstrap import (
    MOST_PAIRS,
    Blocks,
    Spread,
    _pairs,
    blocks_of,
    centre,
    own_interval,
    ratio_interval,
    spread_of,
)
from nvrar_bench.statistics.median import Interval
from tests.statistics.records import launches

SIZE = bootstrap.REPLICATES


def seeded(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng([seed, 0])


def pool_in_loops(samples: list[float], size: int, generator: np.random.Generator) -> list[float]:
    """Deviations of the logarithm of medians of circular block resamples."""
    n, blocks = len(samples), blocks_of(np.array(samples))
    starts = generator.integers(0, n, (size, ceil(n / blocks.length)), dtype=np.int32).tolist()
    found = []
    for row in starts:
        drawn = [samples[(start + i) % n] for start in row for i in range(blocks.length)]
        found.append(blocks.widening * (log(median(drawn[:n])) - log(median(samples))))
    return found


def centre_in_loops(values: list[float]) -> float:
    pairs = combinations_with_replacement(values, 2)
    return median((one + other) / 2 for one, other in pairs)


def spread_in_loops(runs: list[list[float]], generator: np.random.Generator) -> list[float]:
    count = len(runs)
    pools = [pool_in_loops(run, max(200, SIZE // count), generator) for run in runs]
    medians = [log(median(run)) for run in runs]
    within = sum(pvariance(pool) for pool in pools) / count
    scale = sqrt(count / (count - 1) * max(0, 1 - within / variance(medians)))
    chosen = generator.integers(0, count, (SIZE, count)).tolist()
    member = generator.integers(0, len(pools[0]), (SIZE, count)).tolist()
    middle = centre_in_loops(medians)
    return [
        centre_in_loops(
            [scale * (medians[j] - middle) + pools[j][p] for j, p in zip(js, ps, strict=True)]
        )
        for js, ps in zip(chosen, member, strict=True)
    ]


@pytest.mark.parametrize("length", [7, 20, 33])
@pytest.mark.parametrize("correlation", [0.0, 0.9])
def test_one_launch_is_what_loops_give(length: int, correlation: float) -> None:
    samples = launches(seeded(3), 1, length, correlation=correlation)[0]
    found = spread_of([samples], seeded())
    expected = pool_in_loops([float(x) for x in samples], SIZE, seeded())
    assert found.deviations == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert found.figure == pytest.approx(median(samples), rel=1e-12)
    assert found.freedom == pytest.approx(max(1, length / blocks_of(samples).length - 1))


@pytest.mark.parametrize("between", [0.0, 0.05])
def test_several_launches_are_what_loops_give(between: float) -> None:
    runs = launches(seeded(4), 3, 21, between=between, correlation=0.5)
    found = spread_of(runs, seeded())
    expected = spread_in_loops([[float(x) for x in run] for run in runs], seeded())
    assert found.deviations == pytest.approx(expected, rel=1e-9, abs=1e-12)
    medians = [median(run) for run in runs]
    middle = exp(centre_in_loops([log(one) for one in medians]))
    assert (found.figure, found.freedom) == (median(medians), 2.0)
    assert found.centre == pytest.approx(middle, rel=1e-12)


def test_many_samples_are_drawn_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = launches(seeded(3), 1, 50)[0]
    monkeypatch.setattr(bootstrap, "_BATCH", 50 * 300)  # 300 rows at a time
    generator = seeded()
    rows = [
        generator.integers(0, 50, (min(300, SIZE - done), 50), dtype=np.int32)
        for done in range(0, SIZE, 300)
    ]
    expected = np.log(np.median(samples[np.concatenate(rows)], axis=1)) - log(median(samples))
    found = spread_of([samples], seeded()).deviations
    assert found == pytest.approx(expected * sqrt(50 / 49), rel=1e-9, abs=1e-12)


def test_medians_of_resamples_come_as_often_as_they_must() -> None:
    """The median of 7 draws from 7 is at most the k-th if 4 or more draws are among the first k."""
    n = 7
    samples = np.array([1.0, 4.0, 3.0, 9.0, 1.5, 2.6, 5.0])
    below = [
        sum(comb(n, j) * (k / n) ** j * (1 - k / n) ** (n - j) for j in range(4, n + 1))
        for k in range(n + 1)
    ]
    assert blocks_of(samples) == Blocks(1, sqrt(n / (n - 1)))
    deviations = spread_of([samples], seeded()).deviations / sqrt(n / (n - 1))
    seen = Counter(np.round(np.exp(deviations) * 3.0, 6))
    counts = [seen[value] for value in np.sort(samples)]
    assert sum(counts) == SIZE
    assert stats.chisquare(counts, np.diff(below) * SIZE).pvalue > 0.01


def test_percentiles_are_those_of_scipys_bootstrap() -> None:
    samples = launches(seeded(8), 1, 151, noise=0.05)[0]
    theirs = stats.bootstrap(
        (samples,), np.median, n_resamples=20000, method="percentile", rng=1, batch=2000
    ).confidence_interval
    middle, deviations = median(samples), spread_of([samples], seeded()).deviations
    ours = own_interval(Spread(middle, middle, deviations, np.inf))
    width = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.1 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.1 * width)


@pytest.mark.parametrize(
    ("values", "found"),
    [([3.0], 3.0), ([1.0, 2.0], 1.5), ([1.0, 2.0, 9.0], 3.5), ([1.0, 2.0, 3.0, 90.0], 2.75)],
)
def test_the_centre_is_the_median_of_the_means_of_pairs(values: list[float], found: float) -> None:
    assert float(centre(np.array(values))) == found
    assert centre(np.array([values, values])).tolist() == [found, found]


def test_the_centre_varies_little_more_than_a_mean() -> None:
    drawn = np.random.default_rng(7).standard_normal((20_000, 12))
    assert float(centre(drawn).var() / drawn.mean(axis=1).var()) == pytest.approx(1.05, abs=0.04)


def test_the_variance_of_a_draw_is_that_of_the_launches() -> None:
    """Of a mean of medians s^2 / L; the median of two launches is their mean."""
    runs = launches(seeded(5), 2, 60, between=0.1)
    s = variance([log(median(run)) for run in runs])
    assert spread_of(runs, seeded()).variance == pytest.approx(s / 2, rel=0.1)


def test_launches_that_agree_too_well_vary_as_their_samples_do() -> None:
    one = launches(seeded(6), 1, 61)[0]
    alone = spread_of([one], seeded()).variance
    assert spread_of([one, one.copy()], seeded()).variance == pytest.approx(alone / 2, rel=0.15)


def test_an_interval_is_stretched_by_t() -> None:
    deviations = np.linspace(-0.01, 0.03, 4001)
    found = own_interval(Spread(8.0, 8.0, deviations, 2.0))
    k = stats.t.ppf(0.975, 2) / stats.norm.ppf(0.975)
    assert found.low == pytest.approx(8 * exp(-0.009 * k), rel=1e-9)
    assert found.high == pytest.approx(8 * exp(0.029 * k), rel=1e-9)


def test_the_degrees_of_freedom_of_a_ratio_are_welchs() -> None:
    generator = seeded(9)
    a, b = generator.normal(0, 0.01, SIZE), generator.normal(0, 0.02, SIZE)
    found = ratio_interval(Spread(10.0, 10.0, a, 2.0), Spread(12.0, 12.0, b, 9.0))
    va, vb = float(a.var()), float(b.var())
    freedom = (va + vb) ** 2 / (va**2 / 2 + vb**2 / 9)
    low, high = np.quantile(b - a, [0.025, 0.975])
    k = stats.t.ppf(0.975, freedom) / stats.norm.ppf(0.975)
    assert found.low == pytest.approx(1.2 * exp(k * low), rel=1e-9)
    assert found.high == pytest.approx(1.2 * exp(k * high), rel=1e-9)


def test_the_interval_holds_the_figure_and_is_finite() -> None:
    skew = Spread(1.0, 1.0, np.full(SIZE, 0.5), 1.0)
    assert own_interval(skew).low == 1.0
    wild = Spread(1e12, 1e12, np.linspace(-99, 99, SIZE), 1.0)
    found = ratio_interval(wild, wild)
    assert 0 < found.low <= 1 <= found.high < np.inf


def test_the_interval_lies_around_the_centre_and_holds_the_figure() -> None:
    deviations = np.linspace(-0.01, 0.01, 4001)
    k = stats.t.ppf(0.975, 4) / stats.norm.ppf(0.975)
    found = own_interval(Spread(8.0, 8.2, deviations, 4.0))
    assert found.low == pytest.approx(8.0, rel=1e-12)
    assert found.high == pytest.approx(8.2 * exp(0.0095 * k), rel=1e-9)


def test_equal_samples_have_an_interval_of_no_width() -> None:
    constant = spread_of([np.full(10, 5.0), np.full(10, 5.0)], seeded())
    assert ratio_interval(constant, constant) == (1.0, 1.0)


def test_the_same_generator_gives_the_same_interval_and_another_one_nearly() -> None:
    runs = launches(seeded(2), 3, 80, noise=0.05, between=0.02)
    first, again, other = (own_interval(spread_of(runs, seeded(s))) for s in (0, 0, 1))
    assert first == again
    assert first != other
    assert first.high == pytest.approx(other.high, rel=0.02)


def trial(generator: np.random.Generator, counts: tuple[int, int], slower: float = 1.0,
          length: int = 50, **kind: float) -> Interval:  # fmt: skip
    base = launches(generator, counts[0], length, **kind)
    new = launches(generator, counts[1], length, median=10 * slower, **kind)
    return ratio_interval(spread_of(base, seeded()), spread_of(new, seeded(1)))


# Launches of base and new, what differs between launches, correlation, and the coverage at least.
COVERAGE = [
    ((1, 1), 0.0, 0.0, 0.92),
    ((1, 1), 0.0, 0.7, 0.82),  # 50 such samples are worth 9: docs/method.md
    ((2, 2), 0.02, 0.0, 0.92),
    ((3, 3), 0.02, 0.0, 0.92),
    ((5, 5), 0.005, 0.0, 0.92),
    ((3, 8), 0.02, 0.7, 0.92),
]


@pytest.mark.parametrize(("counts", "between", "correlation", "least"), COVERAGE)
def test_the_interval_covers(
    counts: tuple[int, int], between: float, correlation: float, least: float
) -> None:
    generator = np.random.default_rng(7)
    kind = {"noise": 0.02, "between": between, "correlation": correlation}
    found = [trial(generator, counts, **kind) for _ in range(100)]
    assert np.mean([one.low <= 1 <= one.high for one in found]) >= least


def test_a_thousand_launches_take_little_memory() -> None:
    """All pairs of launches in all replicates would be 8 GB, and minutes."""
    runs = launches(seeded(1), 1000, 20, between=0.1)
    tracemalloc.start()
    spread = spread_of(runs, seeded())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200e6
    expected = np.pi / 2 / 1000 * 0.1**2  # of a median; the centre varies less
    assert 0.5 * expected < spread.variance < 1.1 * expected


def test_a_centre_of_many_values_takes_some_of_their_pairs_each_as_often() -> None:
    for count in (90, 91, 200, 1000, 5000):
        first, second = _pairs(count)
        assert len(first) <= max(MOST_PAIRS, count)
        assert set(Counter(np.concatenate([first, second]).tolist()).values()) == {
            2 * len(first) // count if count > 90 else count + 1
        }
    drawn = np.random.default_rng(7).standard_normal((3000, 200))
    assert float(centre(drawn).var() / drawn.mean(axis=1).var()) < 1.25


@pytest.mark.slow
@pytest.mark.parametrize("between", [0.0, 0.03])
def test_the_interval_of_many_launches_covers(between: float) -> None:
    generator = np.random.default_rng(11)
    found = [trial(generator, (55, 60), length=20, between=between) for _ in range(60)]
    assert np.mean([one.low <= 1 <= one.high for one in found]) >= 0.9


def autoregression(correlation: float, length: int = 400, seed: int = 1) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return launches(generator, 1, length, correlation=correlation)[0]


def expected(samples: list[float]) -> tuple[int, float]:
    """Politis and White's length, and the widening of docs/method.md, in plain Python."""
    n, middle = len(samples), median(samples)
    signs = [(x > middle) - (x < middle) for x in samples]
    mean = sum(signs) / n
    r = [sum((signs[i] - mean) * (signs[i + k] - mean) for i in range(n - k)) / n for k in range(n)]
    reach = max(5, ceil(sqrt(log10(n))))
    most = min(ceil(sqrt(n)) + reach, n - 1)
    big = [k for k in range(1, most + 1) if abs(r[k]) >= 2 * sqrt(log10(n) / n) * r[0]]
    lag = next((m for m in range(most) if not set(range(m + 1, m + reach + 1)) & set(big)), most)
    if lag == 0:
        return 1, sqrt(n / (n - 1))
    width = min(2 * lag, most)

    def flat_top(k: int) -> float:
        return 1.0 if abs(k) / width <= 0.5 else 2 * (1 - abs(k) / width)

    slope = sum(flat_top(k) * abs(k) * r[abs(k)] for k in range(-width, width + 1))
    spectrum = sum(flat_top(k) * r[abs(k)] for k in range(-width, width + 1))
    longest = ceil(min(3 * sqrt(n), n / 3))
    best = ceil((2 * slope**2 / (4 / 3 * spectrum**2)) ** (1 / 3) * n ** (1 / 3))
    length = longest if spectrum <= 0 else min(max(1, best), longest)
    drawn = sum((1 - abs(k) / length) * r[abs(k)] for k in range(1 - length, length))
    return length, sqrt(max(1, spectrum / drawn) * n / (n - length))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.6, 0.9, 0.98, -0.6])
def test_length_and_widening_are_those_of_the_formulas(correlation: float, seed: int) -> None:
    samples = autoregression(correlation, 150 + 37 * seed, seed)
    found = blocks_of(samples)
    length, widening = expected([float(x) for x in samples])
    assert found.length == length
    assert found.widening == pytest.approx(widening, rel=1e-9)


def test_independent_samples_are_drawn_one_by_one() -> None:
    lengths = [blocks_of(autoregression(0, seed=seed)).length for seed in range(20)]
    assert lengths.count(1) >= 16


def test_blocks_grow_with_the_correlation() -> None:
    means = [
        np.mean([blocks_of(autoregression(c, seed=seed)).length for seed in range(10)])
        for c in (0.0, 0.5, 0.8, 0.95)
    ]
    assert means == sorted(means)
    assert means[-1] > 5 * means[0]


def test_what_moves_far_out_does_not_count() -> None:
    """A median does not see how far away its outliers are."""
    samples = autoregression(0.8)
    far = np.where(samples > np.quantile(samples, 0.9), samples * 1000, samples)
    assert blocks_of(far) == blocks_of(samples)


@pytest.mark.parametrize("samples", [[5.0], [5.0, 6.0], [5.0] * 9, [5.0, 5.0, 9.0]])
def test_few_samples_or_equal_ones(samples: list[float]) -> None:
    assert blocks_of(np.array(samples)).length == 1


def test_a_drift_makes_long_blocks() -> None:
    found = blocks_of(np.arange(90.0))
    assert found.length > sqrt(90)
    assert found.widening > 1.2
