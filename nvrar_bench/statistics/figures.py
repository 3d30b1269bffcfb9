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
    Precision,
    Result,
    State,
    Stretch,
)
from nvrar_bench.errors import NvrarBenchError
from nvrar_bench.statistics.doubts import DOUBT, of_state, of_time
from nvrar_bench.statistics.doubts import doubts as list_doubts
from nvrar_bench.statistics.independence import Floats, worst
from nvrar_bench.statistics.machine_states import common_state, stretches_of
from nvrar_bench.statistics.median import Estimate, algbw, busbw, percentile
from nvrar_bench.statistics.points import Counted, Launch, between, figure, micros, rounded, within

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
    doubts: tuple[str, ...]  # warnings of the record


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

    UsageError: launches, late samples or stretches that these samples do not have.
    """
    counted = Counted.of(samples_us, launch_samples, late, stretches, one_state)
    samples = counted.us[counted.in_time]
    if not samples.size or not np.isfinite(samples).all():
        raise NvrarBenchError(
            f"cannot summarise {samples.size} samples: need finite ones, 1 or more"
        )
    doubts = (
        *of_time(launch_samples, late),
        *of_state(launch_samples, counted.chosen, counted.is_restless),
    )
    flag, copy, work = counted.reading_us or (None, None, None)
    state = State(rounded(flag), rounded(copy), rounded(work), counted.left_out)
    return _figures(counted, samples, target, state, doubts)


def launches_in_state(result: Result) -> int:
    """How many launches the median of `result`, of one state, is of; 0 if none was in any."""
    launches = stretches_of(result.launch_samples, result.stretches)
    return 0 if common_state(launches).apart else len(result.launches.medians_us)


def _figures(
    counted: Counted, samples: Floats, target: float | None, state: State, doubts: Sequence[str]
) -> Figures:
    parts = counted.parts
    numbers = [i for i, part in enumerate(parts) if len(part)]
    launches = [Launch.of(parts[i]) for i in numbers]
    median = figure(launches)
    error, spread = within(launches), between(launches)
    # Of several launches whole ones are left out, of a single one samples.
    kept = len(numbers) / len(parts) if len(parts) > 1 else float(counted.mask.sum() / len(samples))
    more = list_doubts(launches, numbers, median, target, spread, error, kept)
    reached = median.half_width
    return Figures(
        latency(samples, median),
        Precision(target, None if reached is None else round(reached, 6)),
        _independence(launches),
        Launches(
            len(parts),
            tuple(micros(launch.median) for launch in launches),
            rounded(error),
            rounded(spread),
        ),
        state,
        (*doubts, *more),
    )


def latency(samples_us: Floats, median: Estimate) -> Latency:
    """Return the latency of a record: the `median`, and more of its samples, shape (n,), n >= 1.

    The p95 and p99 are there from PERCENTILES_FROM samples on.
    """
    enough = samples_us.size >= PERCENTILES_FROM
    return Latency(
        median=micros(median.value),
        ci95_low=rounded(median.low),
        ci95_high=rounded(median.high),
        mean=micros(float(samples_us.mean())),
        min=micros(float(samples_us.min())),
        max=micros(float(samples_us.max())),
        p95=micros(percentile(samples_us, 95)) if enough else None,
        p99=micros(percentile(samples_us, 99)) if enough else None,
    )


def _independence(launches: Sequence[Launch]) -> Independence:
    """Of all launches together; the largest lag 1, and the drift that chance explains least."""
    lags = [launch.lag1 for launch in launches if launch.lag1 is not None]
    drift = worst([launch.startup for launch in launches])
    return Independence(
        round(sum(launch.effective for launch in launches), 1),
        round(max(lags), 4) if lags else None,
        round(drift[1].relative, 6) if drift else None,
    )


def make_result(
    ranks: int, target: float | None, warnings: Sequence[str], one_state: bool = False, **facts: Any
) -> Result:
    """Return a result of `facts`, the fields of Result that are not computed from its samples."""
    facts = {"stretches": (), "shape": None, "batch": 1, **facts}
    raw = facts["samples_us"], facts["launch_samples"], facts["late"]
    found = figures(*raw, target, facts["stretches"], one_state)
    size, seconds = facts["size_bytes"], found.latency_us.median / _MICRO
    others = (text for text in warnings if not text.startswith(DOUBT))
    return Result(
        **facts,
        **{key: getattr(found, key) for key in _FIGURES},
        samples=len(facts["samples_us"]),
        algbw_gb_per_s=algbw(size, seconds) * _GIGA,
        busbw_gb_per_s=busbw(size, seconds, ranks) * _GIGA,
        warnings=(*others, *found.doubts),
    )


_FIGURES = ("latency_us", "precision", "independence", "launches", "state")
_COMPUTED = (*_FIGURES, "samples", "algbw_gb_per_s", "busbw_gb_per_s")


def replay(record: RunRecord, one_state: bool = False) -> RunRecord:
    """Compute all figures of a record anew from its samples.

    The medians are of one state of the machine with `one_state`, or where the run asked for it.
    """
    # The record then says so itself, and is compared and merged as such.
    if one_state:
        record = replace(record, settings={**record.settings, "one_state": True})
    return replace(record, results=tuple(_replayed(r, record) for r in record.results))


def _replayed(result: Result, record: RunRecord) -> Result:
    raw = {key: getattr(result, key) for key in Result.__struct_fields__ if key not in _COMPUTED}
    raw |= {"target": result.precision.target, "one_state": record.one_state}
    return make_result(ranks=record.topology.ranks, **raw)
