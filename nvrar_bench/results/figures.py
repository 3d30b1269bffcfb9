"""From the samples of a result to its figures; a stored record goes through the same again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from nvrar_bench.errors import UsageError
from nvrar_bench.measure.independence import Floats
from nvrar_bench.measure.launches import (
    Interval,
    Launch,
    between,
    headline,
    headline_interval,
    within,
)
from nvrar_bench.measure.statistics import Summary, algbw, busbw, summarize
from nvrar_bench.results.doubts import DOUBT, launches_left_out, many_late, nothing_in_time, worst
from nvrar_bench.results.doubts import doubts as list_doubts
from nvrar_bench.results.record import (
    Independence,
    Latency,
    Launches,
    Precision,
    Result,
    RunRecord,
)

_MICRO = 1e6
_GIGA = 1e-9


@dataclass(frozen=True)
class Figures:
    """What the samples of one result come to; `doubts` are warnings, each with DOUBT in front."""

    latency_us: Latency
    precision: Precision
    independence: Independence
    launches: Launches
    doubts: tuple[str, ...]


def figures(
    samples_us: Sequence[float],
    launch_samples: Sequence[int],
    late: Sequence[int],
    target: float | None,
) -> Figures:
    """Return the figures of `samples_us`, launch after launch, without those at the places `late`.

    `launch_samples` says how many samples each launch took; they add up to all. `target` is the
    precision asked for, or None. A launch without a sample in time is left out; where that would
    leave nothing, late samples are in the figures, and a doubt says so.
    """
    samples = np.asarray(samples_us, np.float64)
    doubts: list[str] = []
    parts = _parts(samples, launch_samples, late)
    if len(samples) and not any(map(len, parts)):
        doubts.append(nothing_in_time(len(samples)))
        parts = _parts(samples, launch_samples, ())
    elif empty := [i for i, part in enumerate(parts) if not len(part)]:
        doubts.append(launches_left_out(empty))
    elif many := many_late(len(late), len(samples)):
        doubts.append(many)
    kept = np.concatenate([part for part in parts if len(part)] or [samples])
    summary = summarize(kept / _MICRO)
    return _figures(summary, parts, target, doubts)


def _parts(samples: Floats, counts: Sequence[int], late: Sequence[int]) -> list[Floats]:
    """Cut the samples into launches, without the late ones."""
    if sum(counts) != len(samples) or not all(0 <= place < len(samples) for place in late):
        raise UsageError(
            f"launch_samples add up to {sum(counts)} and late goes to {max(late, default=0)}; "
            f"allowed: {len(samples)} samples, and places among them"
        )
    in_time = np.ones(len(samples), bool)
    in_time[list(late)] = False
    ends = np.cumsum(counts)[:-1]
    pairs = zip(np.split(samples, ends), np.split(in_time, ends), strict=True)
    return [part[kept] for part, kept in pairs]


def _figures(
    summary: Summary, parts: Sequence[Floats], target: float | None, doubts: Sequence[str]
) -> Figures:
    numbers = [i for i, part in enumerate(parts) if len(part)]
    launches = [Launch.of(parts[i]) for i in numbers]
    median, interval = headline(launches), headline_interval(launches)
    error, spread = within(launches), between(launches)
    more = list_doubts(launches, numbers, median, interval, target, spread, error)
    low, high = interval or (None, None)
    return Figures(
        replace(
            _latency(summary),
            median=_digits(median),
            ci95_low=_rounded(low),
            ci95_high=_rounded(high),
        ),
        Precision(target, _reached(median, interval)),
        _independence(launches),
        Launches(
            len(parts),
            tuple(_digits(launch.median) for launch in launches),
            _rounded(error),
            _rounded(spread),
        ),
        tuple(DOUBT + text for text in (*doubts, *more)),
    )


def _independence(launches: Sequence[Launch]) -> Independence:
    """Of all launches together; the largest lag 1, and the drift that chance explains least."""
    lags = [launch.lag1 for launch in launches if launch.lag1 is not None]
    shifts = [launch.startup for launch in launches]
    place = worst(shifts)
    drift = shifts[place] if place is not None else None
    return Independence(
        round(sum(launch.effective for launch in launches), 1),
        round(max(lags), 4) if lags else None,
        round(drift.relative, 6) if drift else None,
    )


def _reached(median: float, interval: Interval | None) -> float | None:
    if interval is None or not median:
        return None
    return round((interval[1] - interval[0]) / 2 / median, 6)


def make_result(
    *, ranks: int, samples_us: tuple[float, ...], launch_samples: tuple[int, ...],
    late: tuple[int, ...], target: float | None, warnings: tuple[str, ...], **facts: Any,
) -> Result:  # fmt: skip
    """Return a result of `facts`, the fields of Result that are not computed from its samples."""
    found = figures(samples_us, launch_samples, late, target)
    seconds = found.latency_us.median / _MICRO
    return Result(
        **facts,
        latency_us=found.latency_us,
        samples=len(samples_us),
        samples_us=samples_us,
        launch_samples=launch_samples,
        late=late,
        precision=found.precision,
        independence=found.independence,
        launches=found.launches,
        algbw_gb_per_s=algbw(facts["size_bytes"], seconds) * _GIGA,
        busbw_gb_per_s=busbw(facts["size_bytes"], seconds, ranks) * _GIGA,
        warnings=(*(text for text in warnings if not text.startswith(DOUBT)), *found.doubts),
    )


_COMPUTED = (
    "latency_us", "samples", "precision", "independence", "launches", "algbw_gb_per_s",
    "busbw_gb_per_s",
)  # fmt: skip


def replay(record: RunRecord) -> RunRecord:
    """Compute all figures of a record anew from its samples."""
    return replace(record, results=tuple(_replayed(r, record) for r in record.results))


def _replayed(result: Result, record: RunRecord) -> Result:
    raw = {f.name: getattr(result, f.name) for f in fields(Result) if f.name not in _COMPUTED}
    return make_result(ranks=record.topology.ranks, target=result.precision.target, **raw)


def _latency(summary: Summary) -> Latency:
    micros: dict[str, Any] = {
        name: _rounded(None if seconds is None else seconds * _MICRO)
        for name, seconds in asdict(summary).items()
    }
    return Latency(**micros)


def _rounded(microseconds: float | None) -> float | None:
    return None if microseconds is None else _digits(microseconds)


def _digits(microseconds: float) -> float:
    return round(microseconds, 4)
