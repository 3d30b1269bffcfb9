"""What the options say about when a point has enough samples."""

from __future__ import annotations

from dataclasses import dataclass

from nvrar_bench.errors import UsageError
from nvrar_bench.settings.options import part, require
from nvrar_bench.timing.stopping import Stopping

MAX_CALLS = 10_000_000

_LEAST_PRECISION, _WORST_PRECISION = 0.0001, 0.5
_FEWEST = 6  # samples of which the median has an interval


@dataclass(frozen=True)
class StopAt:
    """The options as written; None where the user left one out."""

    iters: int | None = None
    precision: str | None = None
    min_samples: int | None = None
    max_samples: int | None = None
    max_time: float | None = None

    def stopping(self) -> Stopping:
        """Check them.

        Raises:
            UsageError: naming the option, the value and what is allowed.
        """
        given = {
            "--min-samples": self.min_samples,
            "--max-samples": self.max_samples,
            "--max-time": self.max_time,
        }
        if self.precision is None:
            for option, value in given.items():
                if value is not None:
                    raise UsageError(f"{option} {value:g} bounds --precision, which is not given")
            if self.iters is None:
                return Stopping(is_default=True)
            require(1 <= self.iters <= MAX_CALLS, "--iters", self.iters, f"1 to {MAX_CALLS}")
            return Stopping(self.iters)
        if self.iters is not None:
            raise UsageError(
                f"--iters {self.iters} and --precision {self.precision} exclude each other: give a "
                "number of calls, or how well the median must be known"
            )
        return self._precise()

    def _precise(self) -> Stopping:
        least = Stopping.min_samples if self.min_samples is None else self.min_samples
        most = Stopping.max_samples if self.max_samples is None else self.max_samples
        seconds = Stopping.max_time if self.max_time is None else self.max_time
        require(_FEWEST <= least <= MAX_CALLS, "--min-samples", least, f"{_FEWEST} to {MAX_CALLS}")
        require(least <= most <= MAX_CALLS, "--max-samples", most, f"{least} to {MAX_CALLS}")
        require(0 < seconds <= 86400, "--max-time", f"{seconds:g}", "more than 0, at most 86400")
        return Stopping(
            precision=part("--precision", self.precision or "", _LEAST_PRECISION, _WORST_PRECISION),
            min_samples=least, max_samples=most, max_time=seconds,
        )  # fmt: skip
