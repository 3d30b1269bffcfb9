"""The timed loop."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Nanoseconds = npt.NDArray[np.int64]


def time_calls(
    launch: Callable[[], None],
    prepare: Callable[[], None],
    gate: Callable[[], None],
    clock: Callable[[], int],
    samples: Nanoseconds,
) -> None:
    """Fill `samples`, shape (n,), with the duration of n calls on this rank, in nanoseconds.

    Each call is timed alone. `prepare` renews what the call consumes; `gate` then lets all ranks go
    at once. Both stand outside the timed part, which holds the call and one reading of the clock.
    """
    for i in range(len(samples)):
        prepare()
        gate()
        start = clock()
        launch()
        samples[i] = clock() - start
