"""From the samples of a result to its figures; a stored record goes through the same again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from nvrar_bench.errors import UsageError
from nvrar_bench.results.record import (
    Independence,
    Latency,
    Launches,
    Precision,
    Result,
    RunRecord,
    State,
    Stretch,
)
from nvrar_bench.statistics.doubts import DOUBT, of_state, of_time, worst
from nvrar_bench.statistics.doubts import doubts as list_doubts
from nvrar_bench.statistics.independence import Floats
from nvrar_bench.statistics.launches import (
    Interval,
    Launch,
    between,
    cut,
    headline,
    headline_interval,
    within,
)
from nvrar_bench.statistics.median import Summary, algbw, busbw, summarize
from nvrar_bench.statistics.states import (
    Masks,
    Stretches,
    common_state,
    cut_launches,
    everything,
    samples_of,
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
    state: State
    doubts: tuple[str, ...]


def figures(
    samples_us: Sequence[float],
    launch_samples: Sequence[int],
    late: Sequence[int],
    target: float | None,
    stretches: Sequence[Stretch] = (),
    one_state: bool = False,
) -> Figures:
    """Return the figures of `samples_us`, launch after launch, without those at the places `late`.

    `launch_samples` says how many samples each launch took, `stretches` what the yardstick said
    beside them, empty where that is unknown; either adds up to all. `target` is the precision asked
    for, or None. With `one_state` the median is of the fastest state of the machine that nearly all
    launches were in; a launch without a sample of that state, in time, is left out. Where nothing
    would be left, late samples are in the figures, and a doubt says so.

    Raises:
        UsageError: launches, late samples or stretches that these samples do not have.
    """
    samples = np.asarray(samples_us, np.float64)
    launches = _stretches(launch_samples, stretches)
    in_time = _in_time(len(samples), launch_samples, late)
    parts_chosen, is_restless = _chosen(launches, one_state)
    doubts = list(of_time(launch_samples, in_time))
    in_time, chosen = _never_none(in_time, samples_of(launches, parts_chosen))
    doubts += of_state(launch_samples, chosen, is_restless)
    summary = summarize(samples[in_time] / _MICRO)
    state = _state(launches, parts_chosen, int(np.sum(in_time & ~chosen)))
    parts = cut(samples, launch_samples, in_time & chosen)
    part_kept = float(np.mean(chosen[in_time]))
    return _figures(summary, parts, target, state, doubts, part_kept)


def stretches_of(result: Result) -> list[Stretches]:
    """Return the stretches of each launch; UsageError where they do not fit each other."""
    return _stretches(result.launch_samples, result.stretches)


def in_median(result: Result, one_state: bool) -> Masks:
    """Say of each sample, shape (n,), whether the median is of it; `one_state` as in `figures`."""
    launches = stretches_of(result)
    in_time = _in_time(len(result.samples_us), result.launch_samples, result.late)
    chosen = samples_of(launches, _chosen(launches, one_state)[0])
    in_time, chosen = _never_none(in_time, chosen)
    return in_time & chosen


def launches_in_state(result: Result) -> int:
    """How many launches the median of `result`, of one state, is of; 0 if none was in any."""
    is_restless = common_state(stretches_of(result)).apart
    return 0 if is_restless else len(result.launches.medians_us)


def _stretches(launch_samples: Sequence[int], stretches: Sequence[Stretch]) -> list[Stretches]:
    if not stretches:
        return [Stretches.unknown(count) for count in launch_samples]
    readings = np.array([[s.flag_us, s.copy_us, s.work_us] for s in stretches], np.float64)
    try:
        return cut_launches([s.samples for s in stretches], readings, launch_samples)
    except ValueError as error:
        raise UsageError(f"stretches: {error}; allowed: parts of the launches") from error


def _chosen(launches: Sequence[Stretches], one_state: bool) -> tuple[Sequence[Masks], bool]:
    """Choose stretches: those of one state, or all; and whether there is no state for long."""
    if not one_state:
        return everything(launches)[0], False
    common = common_state(launches)
    return common.chosen[0], common.apart


def _in_time(samples: int, counts: Sequence[int], late: Sequence[int]) -> Masks:
    if sum(counts) != samples or not all(0 <= place < samples for place in late):
        raise UsageError(
            f"launch_samples add up to {sum(counts)} and late goes to {max(late, default=0)}; "
            f"allowed: {samples} samples, and places among them"
        )
    in_time = np.ones(samples, bool)
    in_time[list(late)] = False
    return in_time


def _never_none(in_time: Masks, chosen: Masks) -> tuple[Masks, Masks]:
    """Take all samples, or all that are in time, where what is left would be none."""
    everything = np.ones(len(in_time), bool)
    if not in_time.any():
        return everything, everything
    return in_time, chosen if (in_time & chosen).any() else everything


def _state(launches: Sequence[Stretches], chosen: Sequence[Masks], left_out: int) -> State:
    met = [s.readings_us[mask] for s, mask in zip(launches, chosen, strict=True)]
    readings = np.concatenate(met)
    if not len(readings) or np.isnan(readings).any():
        return State(None, None, None, left_out)
    flag, copy, work = np.median(readings, axis=0).tolist()
    return State(_digits(flag), _digits(copy), _digits(work), left_out)


def _figures(
    summary: Summary, parts: Sequence[Floats], target: float | None, state: State,
    doubts: Sequence[str], part_kept: float,
) -> Figures:  # fmt: skip
    numbers = [i for i, part in enumerate(parts) if len(part)]
    launches = [Launch.of(parts[i]) for i in numbers]
    median, interval = headline(launches), headline_interval(launches)
    error, spread = within(launches), between(launches)
    kept = len(numbers) / len(parts) if len(parts) > 1 else part_kept
    more = list_doubts(launches, numbers, median, interval, target, spread, error, kept)
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
        state,
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
    late: tuple[int, ...], target: float | None, warnings: tuple[str, ...],
    one_state: bool = False, **facts: Any,
) -> Result:  # fmt: skip
    """Return a result of `facts`, the fields of Result that are not computed from its samples."""
    stretches = facts.get("stretches", ())
    found = figures(samples_us, launch_samples, late, target, stretches, one_state)
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
        state=found.state,
        algbw_gb_per_s=algbw(facts["size_bytes"], seconds) * _GIGA,
        busbw_gb_per_s=busbw(facts["size_bytes"], seconds, ranks) * _GIGA,
        warnings=(*(text for text in warnings if not text.startswith(DOUBT)), *found.doubts),
    )


_COMPUTED = (
    "latency_us", "samples", "precision", "independence", "launches", "state",
    "algbw_gb_per_s", "busbw_gb_per_s",
)  # fmt: skip


def replay(record: RunRecord, one_state: bool = False) -> RunRecord:
    """Compute all figures of a record anew from its samples.

    The medians are of one state of the machine with `one_state`, or where the run asked for it.
    """
    if one_state:
        record = replace(record, settings={**record.settings, "one_state": True})
    return replace(record, results=tuple(_replayed(r, record) for r in record.results))


def _replayed(result: Result, record: RunRecord) -> Result:
    raw = {f.name: getattr(result, f.name) for f in fields(Result) if f.name not in _COMPUTED}
    return make_result(
        ranks=record.topology.ranks, target=result.precision.target, one_state=record.one_state,
        **raw,
    )  # fmt: skip


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
