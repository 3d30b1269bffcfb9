"""Whether the first samples differ from the rest, and the late ones from the early ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import copysign, inf, sqrt
from statistics import NormalDist

import numpy as np

from nvrar_bench.statistics.independence import (
    BATCHES,
    Floats,
    Samples,
    autocorrelations,
    inefficiency,
    sides,
)

# Of fewer samples the first tenth is a handful.
DRIFT_FROM = 50


@dataclass(frozen=True)
class Shift:
    """How far one part of the samples lies above another."""

    relative: float  # difference of the medians, as a part of the median of all
    score: float  # of the median test: about normal, variance 1, if both are of one distribution


def startup_drift(samples: Samples | Sequence[float]) -> Shift | None:
    """Return how far the first tenth of one launch's samples lies above the rest.

    None for fewer than DRIFT_FROM samples. The autocorrelation is that of the rest, which a start
    does not touch.
    """
    values = np.asarray(samples, np.float64)
    if len(values) < DRIFT_FROM:
        return None
    first, rest = _first_and_rest(values)
    return _shift(first, rest, rest, [rest], float(np.median(values)))


def slow_drift(samples: Samples | Sequence[float]) -> Shift | None:
    """Return how far the second half of one launch's samples lies above the first.

    Both are halves of what follows the first tenth. None for fewer than DRIFT_FROM samples. The
    autocorrelation is that of the halves, each about its own median, which a step between them
    does not touch.
    """
    values = np.asarray(samples, np.float64)
    if len(values) < DRIFT_FROM:
        return None
    rest = _first_and_rest(values)[1]
    early, late = rest[: len(rest) // 2], rest[len(rest) // 2 :]
    return _shift(late, early, rest, [early, late], float(np.median(values)))


def worst(shifts: Sequence[Shift | None]) -> int | None:
    """Return the place of the shift that chance explains least; None where there is none."""
    scores = [abs(shift.score) if shift else -1.0 for shift in shifts]
    place = max(range(len(scores)), key=scores.__getitem__)
    return place if scores[place] >= 0 else None


def alarming(shifts: Sequence[Shift | None], level: float) -> bool:
    """Say whether chance alone makes such shifts in less than `level` of cases.

    Of several launches either one stands out, or all lean to one side (Bonferroni, and Stouffer's
    sum of scores; half of the level each).
    """
    scores = [shift.score for shift in shifts if shift]
    if not scores:
        return False
    count = len(scores)
    if count == 1:
        return abs(scores[0]) > _critical(level)
    alone = max(map(abs, scores)) > _critical(level / 2 / count)
    return alone or abs(sum(scores)) / sqrt(count) > _critical(level / 2)


def critical_ratio(level: float) -> float:
    """Return the upper point of chi-square of BATCHES - 1 degrees of freedom, over these.

    E. B. Wilson, M. M. Hilferty, The distribution of chi-square, PNAS 17, 1931.
    """
    variance = 2 / 9 / (BATCHES - 1)
    deviation = NormalDist().inv_cdf(1 - level) * sqrt(variance)
    return float((1 - variance + deviation) ** 3)


def _critical(level: float) -> float:
    return NormalDist().inv_cdf(1 - level / 2)


def _first_and_rest(values: Floats) -> tuple[Floats, Floats]:
    return values[: len(values) // 10], values[len(values) // 10 :]


def _shift(
    part: Floats, other: Floats, common: Floats, alike: Sequence[Floats], median: float
) -> Shift:
    """Compare `part` with `other` by the sides of the median of `common` that their samples are on.

    A. M. Mood's median test (Introduction to the Theory of Statistics, 1950), its variance
    multiplied by the samples of `alike` per independent one.
    """
    middle = float(np.median(common))
    spread = float(sides(common, middle).var())
    above = float(sides(part, middle).mean() - sides(other, middle).mean())
    per_independent = inefficiency(autocorrelations(alike), sum(map(len, alike)))
    error = sqrt(spread * per_independent * (1 / len(part) + 1 / len(other)))
    difference = float(np.median(part) - np.median(other))
    # A difference where nothing varies is no chance.
    score = above / error if error else copysign(inf, above) if above else 0.0
    return Shift(difference / median if median else 0.0, score)
