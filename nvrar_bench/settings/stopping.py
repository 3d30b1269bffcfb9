"""When a point has enough samples, as the options say."""

from __future__ import annotations

from nvrar_bench.errors import UsageError
from nvrar_bench.settings.measure_options import MeasuringOptions
from nvrar_bench.settings.values import part, require
from nvrar_bench.timing.stopping import Stopping

MAX_CALLS = 10_000_000

_LEAST_PRECISION, _WORST_PRECISION = 0.0001, 0.5
_FEWEST = 6  # samples of which the median has an interval


def stopping_of(options: MeasuringOptions) -> Stopping:
    """Check --iters, or --precision and its bounds.

    Raises:
        UsageError: naming the option, the value and what is allowed.
    """
    iters, precision = options.iters, options.precision
    if precision is None:
        _require_no_bounds(options)
        if iters is None:
            return Stopping(is_default=True)
        require(1 <= iters <= MAX_CALLS, "--iters", iters, f"1 to {MAX_CALLS}")
        return Stopping(iters)
    if iters is not None:
        raise UsageError(
            f"--iters {iters} and --precision {precision} exclude each other: give a "
            "number of calls, or how well the median must be known"
        )
    return _precise(options, precision)


def _require_no_bounds(options: MeasuringOptions) -> None:
    given = {
        "--min-samples": options.min_samples,
        "--max-samples": options.max_samples,
        "--max-time": options.max_time,
    }
    for option, value in given.items():
        if value is not None:
            raise UsageError(f"{option} {value:g} bounds --precision, which is not given")


def _precise(options: MeasuringOptions, precision: str) -> Stopping:
    least = Stopping.min_samples if options.min_samples is None else options.min_samples
    most = Stopping.max_samples if options.max_samples is None else options.max_samples
    seconds = Stopping.max_time if options.max_time is None else options.max_time
    require(_FEWEST <= least <= MAX_CALLS, "--min-samples", least, f"{_FEWEST} to {MAX_CALLS}")
    require(least <= most <= MAX_CALLS, "--max-samples", most, f"{least} to {MAX_CALLS}")
    require(0 < seconds <= 86400, "--max-time", f"{seconds:g}", "more than 0, at most 86400")
    return Stopping(
        precision=part("--precision", precision, _LEAST_PRECISION, _WORST_PRECISION),
        min_samples=least, max_samples=most, max_time=seconds,
    )  # fmt: skip
