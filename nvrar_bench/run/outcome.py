"""From what the ranks measured to what the record says: one result per backend and case."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np
from msgspec import convert

from nvrar_bench.devices.base import Device
from nvrar_bench.devices.operation import Operation
from nvrar_bench.documents.result import (
    Arrival,
    Check,
    CheckStatus,
    Exchange,
    FirstWrong,
    LaunchShape,
    Result,
    Stretch,
)
from nvrar_bench.errors import WrongResult
from nvrar_bench.run.point import Point
from nvrar_bench.statistics.figures import make_result
from nvrar_bench.world import World

Arrivals = tuple[Arrival, ...]
_UNCHECKED = Check("skipped", None, 0, 0, None, timed=True)


def combined_check(world: World, point: Point) -> Check:
    """All checks of all ranks as one; collective, the same on every rank."""
    everyone, behind = world.comm.allgather(own_check(point)), point.case.count
    # A check that names no element has seen something wrong behind the output.
    places = [
        check.first_wrong or FirstWrong(rank, behind, "untouched memory", "overwritten memory")
        for rank, check in enumerate(everyone)
        if check.wrong
    ]
    first = min(places, key=lambda place: (place.index, place.rank), default=None)
    status: CheckStatus = "failed" if first else everyone[0].status
    elements, wrong = (sum(getattr(one, key) for one in everyone) for key in ("elements", "wrong"))
    return Check(status, everyone[0].mode, elements, wrong, first, everyone[0].timed)


def provisional_check(point: Point) -> Check:
    """What is known of an unfinished point: what this rank saw is no word about the others."""
    return own_check(point) if point.wrong() else _UNCHECKED


def own_check(point: Point) -> Check:
    """All checks of this rank as one: what ranks gather must not grow with the calls."""
    if not point.checks:
        return _UNCHECKED
    status: CheckStatus = "failed" if point.wrong() else "passed"
    elements = sum(check.elements for check in point.checks)
    places = [convert(one.first_wrong, FirstWrong) for one in point.checks if one.first_wrong]
    first = min(places, key=lambda place: (place.index, place.rank), default=None)
    mode = point.checks[0].mode
    return Check(status, mode, elements, point.wrong(), first, point.checks_what_is_timed)


def require_right(point: Point, check: Check) -> None:
    """Refuse a wrong result (WrongResult)."""
    if check.first_wrong is None:
        return
    first, case = check.first_wrong, point.case
    where = f"element {first.index}" + ("" if first.index < case.count else " (not of the output)")
    how = point.all_reduce.shape or point.all_reduce.variant
    what = f"{case.dtype} {case.op}" + (" that overflows" if case.check_mode == "wrap" else "")
    raise WrongResult(
        f"{point.backend} ({how}) gave a wrong result: {what}, "
        f"{case.placement}, {case.buffers}, {case.size_bytes} bytes: {check.wrong} of "
        f"{check.elements} elements checked; first on rank {first.rank}, {where}: "
        f"expected {first.expected}, saw {first.seen}"
    )


def result_of(
    device: Device, point: Point, check: Check, warmup: int, suffix: str, arrivals: Arrivals = ()
) -> Result:
    """The record's entry for one point; another thread may add turns to it meanwhile."""
    point, case = replace(point, turns=list(point.turns)), point.case
    samples = samples_of(point)
    return make_result(
        ranks=device.world.size,
        samples_us=samples,
        launch_samples=(len(samples),),
        late=point.late,
        target=point.rule.target,
        one_state=point.one_state,
        warnings=(*device.warnings(), *point.operation.warnings, *_of_batch(point)),
        backend=point.backend,
        variant=point.operation.variant + suffix,
        device=device.name,
        buffers=case.buffers,
        dtype=case.dtype,
        op=case.op,
        placement=case.placement,
        size_bytes=case.size_bytes,
        count=case.count,
        warmup=warmup,
        stop_reason=point.stop_reason,
        arrivals=arrivals,
        stretches=_stretches(point),
        check=check,
        shape=shape_of(point.operation),
        batch=point.batch,
    )


def _of_batch(point: Point) -> tuple[str, ...]:
    if point.checks_what_is_timed or not point.checks:
        return ()
    return (
        "in place, the calls of a batch work on what those before have left, so calls of their own "
        "were verified, on the same buffers; --batch 1 verifies calls that are timed",
    )


def samples_of(point: Point) -> tuple[float, ...]:
    """Return the samples as the record has them, in microseconds."""
    return tuple(round(ns / 1e3, 3) for ns in point.durations.tolist())


def shape_of(operation: Operation) -> LaunchShape | None:
    """Return how it is launched, as the record has it; None where that cannot be chosen."""
    of = operation.shape
    if of is None:
        return None
    exchange = cast(Exchange, of.exchange)
    at = operation.tuned_at
    return LaunchShape(of.blocks, of.threads, of.chunk_bytes, of.radix, exchange, at)


def _stretches(point: Point) -> tuple[Stretch, ...]:
    found = point.stretches
    # NaN, a reading that is unknown, is the one number that differs from itself; JSON has none.
    readings = [
        [None if us != us else round(us, 3) for us in row] for row in found.readings_us.tolist()
    ]
    return tuple(
        Stretch(count, *row) for count, row in zip(found.samples.tolist(), readings, strict=True)
    )


def arrivals_of(world: World, point: Point) -> Arrivals:
    """How late each rank began its calls; collective, the same on every rank."""
    own = point.own_delays
    mine = (float(np.median(own)) / 1e3, float(own.max()) / 1e3)
    everyone = world.comm.allgather(mine)
    return tuple(
        Arrival(0, rank, round(median, 3), round(most, 3))
        for rank, (median, most) in enumerate(everyone)
    )
