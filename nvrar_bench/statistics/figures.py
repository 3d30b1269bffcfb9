"""From the samples of a result to its figures; a stored record goes through the same again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from msgspec.structs import replace

from nvrar_bench.documents.record import RunRecord
from nvrar_bench.documents.result import (
    Independence,
    Latency,
    Launches,
    LaunchShape,
    Precision,
    Result,
    State,
    Stretch,
)
from nvrar_bench.errors import NvrarBenchError, UsageError
from nvrar_bench.statistics.doubts import DOUBT, Doubt, of_state, of_time
from nvrar_bench.statistics.doubts import doubts as list_doubts
from nvrar_bench.statistics.drift import worst
from nvrar_bench.statistics.independence import Floats
from nvrar_bench.statistics.launches import Launch, between, cut, figure, within
from nvrar_bench.statistics.median import Estimate, algbw, busbw, percentile
from nvrar_bench.statistics.ruler import doubts_again
from nvrar_bench.statistics.states import (
    Masks,
    Stretches,
    common_state,
    cut_launches,
    everything,
    samples_of,
)

# Below this the p95 and p99 are a handful of samples.
PERCENTILES_FROM = 100
_MICRO = 1e6
_GIGA = 1e-9


@dataclass(frozen=True)
class Figures:
    """What the samples of one result come to."""

    latency_us: Latency
    precision: Precision
    independence: Independence
    launches: Launches
    state: State
    doubts: tuple[Doubt, ...]


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
    _require_finite(samples[in_time])
    state = _state(launches, parts_chosen, int(np.sum(in_time & ~chosen)))
    parts = cut(samples, launch_samples, in_time & chosen)
    return _figures(samples[in_time], parts, target, state, doubts, float(chosen[in_time].mean()))


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
    return State(micros(flag), micros(copy), micros(work), left_out)


def _figures(
    samples: Floats, parts: Sequence[Floats], target: float | None, state: State,
    doubts: Sequence[Doubt], part_kept: float,
) -> Figures:  # fmt: skip
    numbers = [i for i, part in enumerate(parts) if len(part)]
    launches = [Launch.of(parts[i]) for i in numbers]
    median = figure(launches)
    error, spread = within(launches), between(launches)
    kept = len(numbers) / len(parts) if len(parts) > 1 else part_kept
    more = list_doubts(launches, numbers, median, target, spread, error, kept)
    reached = median.half_width
    return Figures(
        latency(samples, median),
        Precision(target, None if reached is None else round(reached, 6)),
        _independence(launches),
        Launches(
            len(parts),
            tuple(micros(launch.median) for launch in launches),
            _rounded(error),
            _rounded(spread),
        ),
        state,
        (*doubts, *more),
    )


def _require_finite(samples_us: Floats) -> None:
    if not samples_us.size or not np.isfinite(samples_us).all():
        raise NvrarBenchError(
            f"cannot summarise {samples_us.size} samples: need finite ones, 1 or more"
        )


def latency(samples_us: Floats, median: Estimate) -> Latency:
    """Return the latency of a record: the `median`, and more of its samples, shape (n,), n >= 1.

    The p95 and p99 are there from PERCENTILES_FROM samples on.
    """
    enough = samples_us.size >= PERCENTILES_FROM
    return Latency(
        median=micros(median.value),
        ci95_low=_rounded(median.low),
        ci95_high=_rounded(median.high),
        mean=micros(float(samples_us.mean())),
        min=micros(float(samples_us.min())),
        max=micros(float(samples_us.max())),
        p95=micros(percentile(samples_us, 95)) if enough else None,
        p99=micros(percentile(samples_us, 99)) if enough else None,
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


def make_result(
    *, ranks: int, samples_us: tuple[float, ...], launch_samples: tuple[int, ...],
    late: tuple[int, ...], target: float | None, warnings: tuple[str, ...],
    stretches: tuple[Stretch, ...] = (), shape: LaunchShape | None = None, batch: int = 1,
    one_state: bool = False, **facts: Any,
) -> Result:  # fmt: skip
    """Return a result of `facts`, the fields of Result that are not computed from its samples."""
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
        warnings=(
            *(text for text in warnings if not text.startswith(DOUBT)),
            *(doubt.text for doubt in found.doubts),
        ),
        stretches=stretches,
        shape=shape,
        batch=batch,
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
    raw = {key: getattr(result, key) for key in Result.__struct_fields__ if key not in _COMPUTED}
    return make_result(
        ranks=record.topology.ranks, target=result.precision.target, one_state=record.one_state,
        **raw,
    )  # fmt: skip


def doubts_of(result: Result, record: RunRecord) -> tuple[Doubt, ...]:
    """Return all doubts about the figures of a result of `record`, computed anew."""
    median, facts = result.latency_us.median / _MICRO, record.environment.get("ruler")
    found = figures(
        result.samples_us, result.launch_samples, result.late, result.precision.target,
        result.stretches, record.one_state,
    )  # fmt: skip
    return (*doubts_again(facts, median, result.batch, result.warnings), *found.doubts)


def _rounded(microseconds: float | None) -> float | None:
    return None if microseconds is None else micros(microseconds)


def micros(microseconds: float) -> float:
    """Round a figure as all documents have it."""
    return round(microseconds, 4)
