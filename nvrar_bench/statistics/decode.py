"""From samples of decode steps to their figures; a stored record goes through the same again."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from nvrar_bench.documents.decode import BackendStep, BatchResult, DecodeRecord, Figure, TimedStep
from nvrar_bench.documents.result import Arrival, Check, LaunchShape
from nvrar_bench.errors import NvrarBenchError
from nvrar_bench.statistics.doubts import DOUBT
from nvrar_bench.statistics.figures import figures
from nvrar_bench.statistics.median import Estimate, difference, median_of, ratio
from nvrar_bench.statistics.points import SUBJECT, micros

_NOTHING = Estimate(0.0, 0.0, 0.0)


def timed_step(
    samples_us: tuple[float, ...], late: tuple[int, ...], target: float | None, *,
    warmup: int, stop_reason: str, arrivals: tuple[Arrival, ...], warnings: tuple[str, ...],
) -> TimedStep:  # fmt: skip
    """Summarise the samples of a step; `warnings` are what else there is to say of them."""
    found = figures(samples_us, (len(samples_us),), late, target)
    return TimedStep(
        found.latency_us, len(samples_us), samples_us, late, warmup, stop_reason, found.precision,
        found.independence, arrivals,
        (*(text for text in warnings if not text.startswith(DOUBT)),
         *(doubt.text for doubt in found.doubts)),
    )  # fmt: skip


def backend_step(
    backend: str, variant: str, step: TimedStep, check: Check, shape: LaunchShape | None
) -> BackendStep:
    """Return a step whose figures beside others are still to come; see `batch_result`."""
    rate = Figure(0.0, None, None)
    return BackendStep(backend, variant, step, None, None, rate, None, None, check, shape)


def batch_result(
    batch: int, count: int, size_bytes: int, kv_bytes: int, work: TimedStep | None,
    steps: Sequence[BackendStep], has_work: bool,
) -> BatchResult:  # fmt: skip
    """Return a batch with the figures that compare its steps, with the work and with each other.

    `has_work`: there is a step without all-reduces, also where `work`, its samples, is missing.
    """
    others = [one for one in steps if one.backend != SUBJECT]
    reference = next(iter(others or steps), None)
    without = median_of(work.latency_us) if work else None if has_work else _NOTHING
    compared = tuple(_compared(one, batch, without, reference) for one in steps)
    return BatchResult(batch, count, size_bytes, kv_bytes, work, compared)


def _compared(
    one: BackendStep, batch: int, without: Estimate | None, reference: BackendStep | None
) -> BackendStep:
    step = median_of(one.step.latency_us)
    if not step.value > 0:
        raise NvrarBenchError(f"a step of {step.value} us has no rate; the time must be above 0")
    versus = None if reference is None or reference.backend == one.backend else reference
    return replace(
        one,
        all_reduce_us=without and _figure(difference(step, without)),
        all_reduce_part=without and _figure(_rest(without, step)),
        tokens_per_s=_figure(_rate(batch * 1e6, step)),
        versus=versus and versus.backend,
        speed_up=versus and _figure(ratio(median_of(versus.step.latency_us), step)),
    )


def _rest(without: Estimate, step: Estimate) -> Estimate:
    """Return the part of the step that is left without this."""
    if without.value == 0:
        return Estimate(1.0, 1.0, 1.0)
    part = ratio(without, step)
    return Estimate(1 - part.value, part.high and 1 - part.high, part.low and 1 - part.low)


def _rate(amount: float, time: Estimate) -> Estimate:
    low, high = (amount / end if end else None for end in (time.high, time.low))
    return Estimate(amount / time.value, low, high)


def _figure(of: Estimate) -> Figure:
    low, high = of.low, of.high
    return Figure(
        micros(of.value),
        None if low is None else micros(low),
        None if high is None else micros(high),
    )


def replay(record: DecodeRecord) -> DecodeRecord:
    """Compute all figures of a record anew from its samples."""
    has_work = record.step.compute != "none"
    return replace(record, results=tuple(_replayed(one, has_work) for one in record.results))


def _replayed(result: BatchResult, has_work: bool) -> BatchResult:
    steps = [replace(one, step=_again(one.step)) for one in result.steps]
    work = result.work and _again(result.work)
    return batch_result(
        result.batch, result.count, result.size_bytes, result.kv_bytes, work, steps, has_work
    )


def _again(step: TimedStep) -> TimedStep:
    return timed_step(
        step.samples_us, step.late, step.precision.target, warmup=step.warmup,
        stop_reason=step.stop_reason, arrivals=step.arrivals, warnings=step.warnings,
    )  # fmt: skip
