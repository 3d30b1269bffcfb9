"""The samples of a result that count, and the one figure that they come to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nvrar_bench.measure.launches import cut
from nvrar_bench.measure.states import Masks, Stretches, samples_of
from nvrar_bench.results.record import Result

Samples = npt.NDArray[np.float64]

# A launch alone says nothing of its median's interval below this: even its extremes are too close.
FEWEST = 6
# The record's resolution. A call that took less was not timed.
SHORTEST_US = 1e-3


def launches_of(
    result: Result, launches: Sequence[Stretches], chosen: Sequence[Masks]
) -> tuple[Samples, ...]:
    """Return the samples of each launch in microseconds, in order, of its `chosen` stretches.

    `launches` are the result's own (figures.stretches_of). Late samples are left out, and launches
    of which nothing is left.
    """
    kept = samples_of(launches, chosen)
    kept[list(result.late)] = False
    values = np.asarray(result.samples_us, np.float64)
    return tuple(part for part in cut(values, result.launch_samples, kept) if len(part))


def figure(launches: Sequence[Samples]) -> float:
    """Return the centre of the logarithms of the launches' medians, as a time.

    Of one launch that is the median of its samples; where a median is 0, theirs.
    """
    medians = np.array([float(np.median(samples)) for samples in launches])
    if len(medians) == 1 or not medians.all():
        return float(np.median(medians))
    return float(np.exp(centre(np.log(medians))))


def centre(values: Samples) -> Samples:
    """Return the median of the means of all pairs, shape (...), of `values`, shape (..., n).

    A value is its own pair too. One value far off moves it as little as a median, and it varies by
    5 % more than a mean of normal values, where a median varies by 57 % (J. L. Hodges,
    E. L. Lehmann, Estimates of Location Based on Rank Tests, Ann. Math. Stat. 34, 1963).
    """
    first, second = np.triu_indices(values.shape[-1])
    found: Samples = np.median((values[..., first] + values[..., second]) / 2, axis=-1)
    return found


def unusable(launches: Sequence[Samples]) -> str | None:
    """Say why there is no figure of `launches`, or none with an interval; None where there is."""
    if not launches:
        return "no samples but late ones"
    if min(float(samples.min()) for samples in launches) < SHORTEST_US:
        return "samples shorter than 1 ns"
    if len(launches) == 1 and len(launches[0]) < FEWEST:
        return f"fewer than {FEWEST} samples"
    return None
