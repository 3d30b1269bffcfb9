"""Stopping rules, one file each: when a point has enough samples.

    iterations    a number of calls
    enough        a number of calls, and more where these tell too little; the default
    precision     a width of the median's interval, within bounds

A new rule is a file with a `StoppingRule`, and a row in `Stopping.rule`.
"""

from __future__ import annotations

from dataclasses import dataclass

from nvrar_bench.timing.rules.base import StoppingRule, Taken
from nvrar_bench.timing.rules.enough import Enough
from nvrar_bench.timing.rules.iterations import Iterations
from nvrar_bench.timing.rules.precision import Precision

__all__ = ["Stopping", "StoppingRule", "Taken"]


@dataclass(frozen=True)
class Stopping:
    """What a run was asked for: `iters` calls, or, where `precision` is given, that.

    `is_default`: nobody asked, and more calls may follow.

    `precision` is half of the 95 % interval of the median as a part of the median; `max_time` is
    seconds per backend and point.
    """

    iters: int = 200
    precision: float | None = None
    min_samples: int = 100
    max_samples: int = 100_000
    max_time: float = 5.0
    is_default: bool = False

    def rule(self, iters: int | None = None) -> StoppingRule:
        """Make the rule of one backend at one point; `iters` is the case file's."""
        if self.precision is None:
            if self.is_default and not iters:
                return Enough(self.iters)
            return Iterations(iters or self.iters)
        return Precision(self.precision, self.min_samples, self.max_samples, self.max_time)
