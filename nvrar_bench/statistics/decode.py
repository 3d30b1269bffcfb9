"""From samples of decode steps to their figures; a stored record goes through the same again."""

from __future__ import annotations

from typing import Any

import numpy as np
from msgspec.structs import replace

from nvrar_bench.documents.decode import BackendStep, BatchResult, DecodeRecord, Figure, TimedStep
from nvrar_bench.documents.result import Check, LaunchShape
from nvrar_bench.errors import NvrarBenchError
from nvrar_bench.statistics.doubts import DOUBT, REPEAT
from nvrar_bench.statistics.figures import figures
from nvrar_bench.statistics.independence import Floats
from nvrar_bench.statistics.median import Estimate, estimate, median_of
from nvrar_bench.statistics.points import SUBJECT, micros, rounded

# A run of steps has one launch.
_REPEAT = (
    "repeat it, and keep other work off the machine (comm and speed-up hold: they compare steps "
    "that were measured side by side)"
)


def timed_step(
    samples_us: tuple[float, ...], late: tuple[int, ...], target: float | None, **how: Any
) -> TimedStep:
    """Summarise the samples of a step; `how` are the fields of TimedStep that are not computed.

    Its `warnings` are what else there is to say of the step.
    """
    found = figures(samples_us, (len(samples_us),), late, target)
    others = (text for text in how.pop("warnings") if not text.startswith(DOUBT))
    return TimedStep(
        latency_us=found.latency_us,
        samples=len(samples_us),
        samples_us=samples_us,
        late=late,
        precision=found.precision,
        independence=found.independence,
        warnings=(*others, *(text.replace(REPEAT, _REPEAT) for text in found.doubts)),
        **how,
    )


def backend_step(
    backend: str, variant: str, step: TimedStep, check: Check, shape: LaunchShape | None
) -> BackendStep:
    """Return a step whose figures beside others are still to come; see `compared`."""
    rate = Figure(0.0, None, None)
    return BackendStep(backend, variant, step, None, None, rate, None, None, check, shape)


def compared(result: BatchResult, has_work: bool) -> BatchResult:
    """Return a batch with the figures that compare its steps, with the work and with each other.

    `has_work`: there is a step without all-reduces, also where `work`, its samples, is missing.
    """
    others = [one for one in result.steps if one.backend != SUBJECT]
    reference = next(iter(others or result.steps), None)
    steps = tuple(_compared(one, result, has_work, reference) for one in result.steps)
    return replace(result, steps=steps)


def _compared(
    one: BackendStep, of: BatchResult, has_work: bool, reference: BackendStep | None
) -> BackendStep:
    step = median_of(one.step.latency_us)
    if not step.value > 0:
        raise _no_time(step.value)
    versus = None if reference is None or reference.backend == one.backend else reference
    # Without any work the whole step is all-reduces.
    added, part = _added(one.step, of.work) if has_work else (_figure(step), Figure(1.0, 1.0, 1.0))
    return replace(
        one,
        all_reduce_us=added,
        all_reduce_part=part,
        tokens_per_s=_figure(step.rate(of.batch * 1e6)),
        versus=versus and versus.backend,
        speed_up=versus and _median_ratio(*_paired(versus.step, one.step)),
    )


def _added(step: TimedStep, work: TimedStep | None) -> tuple[Figure | None, Figure | None]:
    """Return what all-reduces add to the work, and that as a part of the step."""
    if work is None:
        return None, None
    whole, rest = _paired(step, work)
    return _figure(estimate(whole - rest)), _median_ratio(whole - rest, whole)


def _paired(one: TimedStep, other: TimedStep) -> tuple[Floats, Floats]:
    """Return the samples of both in pairs: the i-th of each, where no rank began late.

    Steps of a batch take turns of equal length, so the i-th samples are of the same round. A drift
    of the machine is then in both, and in no difference or ratio of the two. The median of these
    has the interval of any median, `estimate`'s, which is that of the sign test of paired samples
    (J. D. Gibbons, S. Chakraborti, Nonparametric Statistical Inference, section 5.4).
    """
    count = min(one.samples, other.samples)
    in_time = np.ones(count, bool)
    in_time[[place for place in (*one.late, *other.late) if place < count]] = False
    # As in the figures of one: late samples count where there are no others.
    chosen = in_time if in_time.any() else ~in_time
    first, second = (np.array(step.samples_us[:count])[chosen] for step in (one, other))
    return first, second


def _median_ratio(top: Floats, bottom: Floats) -> Figure:
    if not bottom.all():
        raise _no_time(0.0)
    return _figure(estimate(top / bottom))


def _no_time(us: float) -> NvrarBenchError:
    return NvrarBenchError(f"a step of {us} us has no rate; the time must be above 0")


def _figure(of: Estimate) -> Figure:
    return Figure(micros(of.value), rounded(of.low), rounded(of.high))


def replay(record: DecodeRecord) -> DecodeRecord:
    """Compute all figures of a record anew from its samples."""
    has_work = record.step.compute != "none"
    return replace(record, results=tuple(_replayed(one, has_work) for one in record.results))


def _replayed(result: BatchResult, has_work: bool) -> BatchResult:
    steps = tuple(replace(one, step=_again(one.step)) for one in result.steps)
    work = result.work and _again(result.work)
    return compared(replace(result, work=work, steps=steps), has_work)


def _again(step: TimedStep) -> TimedStep:
    how = {key: getattr(step, key) for key in ("warmup", "stop_reason", "arrivals", "warnings")}
    return timed_step(step.samples_us, step.late, step.precision.target, **how)
