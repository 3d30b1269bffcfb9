"""The interval of a ratio of two medians, from the interval of each."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, hypot, log


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval; no interval where there were too few samples."""

    value: float
    low: float | None
    high: float | None

    @property
    def half_width(self) -> float | None:
        """Half of the interval as a part of the figure."""
        if self.low is None or self.high is None or self.value <= 0:
            return None
        return (self.high - self.low) / 2 / self.value


def ratio(top: Estimate, bottom: Estimate) -> Estimate:
    """Return top / bottom, both above 0, with its interval.

    The logarithms' distances to the ends of their intervals are added as independent errors are:
    G. Y. Zou, A. Donner, Construction of confidence limits about effect measures: a general
    approach, Statistics in Medicine 27, 2008. What both medians share, as turns side by side do,
    makes the interval wider than need be, not narrower.
    """
    value = top.value / bottom.value
    ends = (top.low, top.high, bottom.low, bottom.high)
    if any(end is None or end <= 0 for end in ends):
        return Estimate(value, None, None)
    up, down = _distances(top), _distances(bottom)
    return Estimate(value, value * exp(-hypot(up[0], down[1])), value * exp(hypot(up[1], down[0])))


def _distances(of: Estimate) -> tuple[float, float]:
    """How far the ends of the interval lie below and above the figure, as logarithms."""
    low, high = of.low or of.value, of.high or of.value
    return max(0.0, log(of.value / low)), max(0.0, log(high / of.value))
