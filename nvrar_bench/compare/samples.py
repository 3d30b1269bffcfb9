"""The samples of a result that count, and the one figure that they come to."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from nvrar_bench.results.record import Result

Samples = npt.NDArray[np.float64]

# A launch alone says nothing of its median's interval below this: even its extremes are too close.
FEWEST = 6
# The record's resolution. A call that took less was not timed.
SHORTEST_US = 1e-3


def launches_of(result: Result, numbers: Collection[int]) -> tuple[Samples, ...]:
    """Return the samples of these launches in microseconds, in order, without the late ones.

    A launch of which nothing is left is left out.
    """
    kept = np.ones(len(result.samples_us), bool)
    kept[list(result.late)] = False
    values = np.asarray(result.samples_us, np.float64)
    ends = np.cumsum(result.launch_samples)[:-1]
    parts = zip(np.split(values, ends), np.split(kept, ends), strict=True)
    return tuple(part[mask] for i, (part, mask) in enumerate(parts) if i in numbers and mask.any())


def figure(launches: Sequence[Samples]) -> float:
    """Return the median of the launches' medians; of one launch, the median of its samples."""
    return float(np.median([np.median(samples) for samples in launches]))


def unusable(launches: Sequence[Samples]) -> str | None:
    """Say why there is no figure of `launches`, or none with an interval; None where there is."""
    if not launches:
        return "no samples but late ones"
    if min(float(samples.min()) for samples in launches) < SHORTEST_US:
        return "samples shorter than 1 ns"
    if len(launches) == 1 and len(launches[0]) < FEWEST:
        return f"fewer than {FEWEST} samples"
    return None
