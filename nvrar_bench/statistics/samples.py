"""The samples of a result that count, and the figures that they come to."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from nvrar_bench.documents.result import Result
from nvrar_bench.statistics.launches import cut
from nvrar_bench.statistics.states import Masks

Samples = npt.NDArray[np.float64]
_Indices = npt.NDArray[np.int64]

# A launch alone says nothing of its median's interval below this: even its extremes are too close.
FEWEST = 6
# The record's resolution. A call that took less was not timed.
SHORTEST_US = 1e-3
# Of more pairs a centre is no better known, but takes minutes; 90 launches have fewer.
MOST_PAIRS = 4096
_AT_ONCE = 2_000_000  # means of pairs in memory


def launches_of(result: Result, counts: Masks) -> tuple[Samples, ...]:
    """Return the samples of each launch in microseconds, in order, that `counts`, shape (n,), has.

    Launches of which nothing is left are left out.
    """
    values = np.asarray(result.samples_us, np.float64)
    return tuple(part for part in cut(values, result.launch_samples, counts) if len(part))


def figure(launches: Sequence[Samples]) -> float:
    """Return the figure of a run, as its table has it: the median of its launches' medians."""
    return float(np.median(medians_of(launches)))


def medians_of(launches: Sequence[Samples]) -> Samples:
    """Return the median of each launch, shape (L,)."""
    return np.array([float(np.median(samples)) for samples in launches])


def centre(values: Samples) -> Samples:
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
def _pairs(count: int) -> tuple[_Indices, _Indices]:
    """Return which of `count` values are taken in pairs: all, or each with some far from it."""
    if count * (count + 1) // 2 <= MOST_PAIRS:
        return np.triu_indices(count)
    steps = np.linspace(1, count // 2, max(1, MOST_PAIRS // count)).astype(np.int64)
    first = np.tile(np.arange(count), len(steps))
    return first, (first + np.repeat(steps, count)) % count


def unusable(launches: Sequence[Samples]) -> str | None:
    """Say why there is no figure of `launches`, or none with an interval; None where there is."""
    if not launches:
        return "no samples"
    if min(float(samples.min()) for samples in launches) < SHORTEST_US:
        return "samples shorter than 1 ns"
    if len(launches) == 1 and len(launches[0]) < FEWEST:
        return f"fewer than {FEWEST} samples"
    return None
