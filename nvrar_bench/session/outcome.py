"""From what the ranks measured to what the record says: one result per backend and case."""

from __future__ import annotations

from nvrar_bench.devices.base import Device
from nvrar_bench.errors import WrongResult
from nvrar_bench.plan import Case
from nvrar_bench.results.figures import make_result
from nvrar_bench.results.record import Check, FirstWrong, Result
from nvrar_bench.session.case import Measured
from nvrar_bench.verify import CheckResult
from nvrar_bench.world import World


def combined_check(world: World, case: Case, measured: Measured) -> Check:
    """All checks of all ranks as one; collective, the same on every rank."""
    mine = (measured.checks, measured.canary_broken)
    everyone = world.comm.allgather(mine)
    checks = [check for of_rank, _ in everyone for check in of_rank]
    if not checks:
        return Check("skipped", None, 0, 0, None)
    broken = [rank for rank, (_, canary_broken) in enumerate(everyone) if canary_broken]
    wrong = [check for check in checks if check.wrong]
    first = _first_wrong(wrong, broken, case.count)
    elements = sum(check.elements for check in checks)
    total = sum(check.wrong for check in wrong) + len(broken)
    return Check("failed" if first else "passed", checks[0].mode, elements, total, first)


def _first_wrong(wrong: list[CheckResult], broken: list[int], count: int) -> FirstWrong | None:
    places = [check.first_wrong for check in wrong if check.first_wrong]
    if places:
        first = min(places, key=lambda place: (place["index"], place["rank"]))
        return FirstWrong(
            int(first["rank"]), int(first["index"]), _number(first["expected"]),
            _number(first["seen"]),
        )  # fmt: skip
    if broken:
        return FirstWrong(broken[0], count, "untouched memory", "overwritten memory")
    return None


def _number(value: int | float | str) -> float | str:
    return value


def require_right(case: Case, measured: Measured, check: Check) -> None:
    """Refuse a wrong result.

    Raises:
        WrongResult: naming backend, case, first wrong index, expected and seen.
    """
    if check.first_wrong is None:
        return
    first = check.first_wrong
    where = f"element {first.index}" + ("" if first.index < case.count else " (not of the output)")
    raise WrongResult(
        f"{measured.backend} ({measured.operation.variant}) gave a wrong result: {case.dtype} "
        f"{case.op}, {case.placement}, {case.buffers}, {case.size_bytes} bytes: {check.wrong} of "
        f"{check.elements} elements checked; first on rank {first.rank}, {where}: "
        f"expected {first.expected}, saw {first.seen}"
    )


def result_of(
    device: Device, case: Case, measured: Measured, check: Check, warmup: int, suffix: str
) -> Result:
    """The record's entry for one backend at one case."""
    samples = tuple(round(ns / 1e3, 3) for ns in measured.samples.tolist())
    return make_result(
        ranks=device.world.size,
        samples_us=samples,
        launch_samples=(len(samples),),
        late=(),
        target=None,
        warnings=(*device.warnings(), *measured.operation.warnings),
        backend=measured.backend,
        variant=measured.operation.variant + suffix,
        device=device.name,
        buffers=case.buffers,
        dtype=case.dtype,
        op=case.op,
        placement=case.placement,
        size_bytes=case.size_bytes,
        count=case.count,
        warmup=warmup,
        stop_reason="iterations",
        arrivals=(),
        check=check,
    )
