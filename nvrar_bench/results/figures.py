"""From the samples of a result to its figures; a stored record goes through the same again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from nvrar_bench.measure.statistics import Summary, algbw, busbw, summarize
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
# How every doubt begins that comes from the samples: a replay replaces these warnings alone.
DOUBT = "statistics: "


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
    precision asked for, or None.
    """
    kept = np.delete(np.asarray(samples_us, np.float64), list(late)) / _MICRO
    summary = summarize(kept)
    return Figures(
        _latency(summary),
        Precision(target, None),
        Independence(float(len(kept)), None, None),
        Launches(len(launch_samples), (), None, None),
        (),
    )


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
        name: None if seconds is None else round(seconds * _MICRO, 4)
        for name, seconds in asdict(summary).items()
    }
    return Latency(**micros)
