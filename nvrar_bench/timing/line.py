"""How one clock runs against another: a line through offsets that were measured at some moments."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

# What Linux lets NTP slew a clock by, beyond which no two monotonic clocks drift apart.
MAX_DRIFT = 500e-6
MOMENTS = 8  # that a line is fitted through
SPACING_NS = 500_000_000  # between two of them, at least


@dataclass(frozen=True)
class Moment:
    """At `own_ns` of one clock another shows `own_ns + offset_ns`, to within `error_ns`."""

    own_ns: int
    offset_ns: int
    error_ns: float


@dataclass(frozen=True)
class ClockLine:
    """The least-squares line through the offsets of `moments`, as HCA3 fits it.

    S. Hunold, A. Carpen-Amarie, "Hierarchical Clock Synchronization in MPI", IEEE Cluster 2018.
    Without moments the two clocks are one. With one, no drift is known, and up to `MAX_DRIFT` is
    taken for possible.
    """

    moments: tuple[Moment, ...] = ()

    def with_moment(self, moment: Moment) -> ClockLine:
        """This line and one more moment, of which at most `MOMENTS` are kept.

        It takes the place of the last one where that is less than `SPACING_NS` behind its
        predecessor, so that frequent renewals do not shorten what the drift is fitted over.
        """
        kept = self.moments
        if len(kept) > 1 and kept[-1].own_ns - kept[-2].own_ns < SPACING_NS:
            kept = kept[:-1]
        return ClockLine((*kept, moment)[-MOMENTS:])

    @property
    def drift(self) -> float:
        """Seconds that the other clock gains per second."""
        return self._fit[1]

    def to_other(self, own_ns: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """What the other clock shows at `own_ns`."""
        if not self.moments:
            return own_ns
        at_last, drift, _ = self._fit
        last = self.moments[-1]
        beyond = at_last + drift * (own_ns - last.own_ns)
        shown: npt.NDArray[np.int64] = own_ns + last.offset_ns + np.rint(beyond).astype(np.int64)
        return shown

    def to_own(self, other_ns: int) -> int:
        """What this clock shows when the other shows `other_ns`."""
        if not self.moments:
            return other_ns
        at_last, drift, _ = self._fit
        last = self.moments[-1]
        since = other_ns - last.own_ns - last.offset_ns
        return last.own_ns + round((since - at_last) / (1 + drift))

    def error_ns(self, own_ns: int) -> float:
        """A bound on the error at `own_ns`, for clocks whose drift is constant.

        The line's offset is a sum over c[i] offset[i], so that errors below e[i] of the offsets
        make one below the sum over |c[i]| e[i]. The largest residual comes on top.
        """
        if not self.moments:
            return 0.0
        x, errors = self._abscissas(), np.array([m.error_ns for m in self.moments])
        at = float(own_ns - self.moments[-1].own_ns)
        if len(x) == 1:
            return float(errors[0]) + MAX_DRIFT * abs(at)
        weights = 1 / len(x) + (at - x.mean()) * _slope_weights(x)
        return float(np.abs(weights) @ errors) + self._fit[2]

    def _abscissas(self) -> npt.NDArray[np.float64]:
        # From the last moment on: differences keep the digits that a float has not for a clock.
        last = self.moments[-1].own_ns
        return np.array([float(m.own_ns - last) for m in self.moments])

    @cached_property
    def _fit(self) -> tuple[float, float, float]:
        """Offset at the last moment beyond the measured one, drift, largest residual."""
        if len(self.moments) < 2:
            return 0.0, 0.0, 0.0
        x = self._abscissas()
        last = self.moments[-1].offset_ns
        y = np.array([float(m.offset_ns - last) for m in self.moments])
        drift = float(_slope_weights(x) @ y)
        at_last = float(y.mean() - drift * x.mean())
        return at_last, drift, float(np.abs(y - at_last - drift * x).max())


def _slope_weights(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """What each ordinate adds to the slope of the least-squares line."""
    centred = x - x.mean()
    weights: npt.NDArray[np.float64] = centred / (centred @ centred)
    return weights


def as_fact(line: ClockLine, own_ns: int) -> dict[str, Any]:
    """Offset, drift and error at `own_ns`."""
    offset = int(line.to_other(np.array([own_ns]))[0]) - own_ns
    return {"offset": offset, "drift": line.drift, "error": line.error_ns(own_ns)}
