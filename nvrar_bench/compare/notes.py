"""What a reader must know beside the verdicts, each said once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nvrar_bench.compare.points import Key, points_of
from nvrar_bench.compare.verdicts import Side, in_other_states
from nvrar_bench.results.record import Result, RunRecord

Sides = Mapping[Key, tuple[Side, Side]]

ONE_LAUNCH = (
    "how launches differ is unknown: intervals are wider by --launch-spread; use --launches"
)


def notes(base: RunRecord, new: RunRecord, sides: Sides) -> Iterator[str]:
    """Yield what weakens a verdict or takes its place, worst last."""
    runs = {"base": base, "new": new}
    single = [name for name, run in runs.items() if _has_one_launch(run, sides)]
    if single:
        yield f"one launch in {' and '.join(single)}: {ONE_LAUNCH}"
    yield from _states(sides)
    for i, (name, run) in enumerate(runs.items()):
        if run.run.status != "complete":
            yield f"{name} is not complete: {run.run.status}"
        yield from _of_points(name, {key: pair[i] for key, pair in sides.items()}, run)


def _states(sides: Sides) -> Iterator[str]:
    apart = [pair for pair in sides.values() if in_other_states(*pair)]
    if apart:
        base, new = apart[0][0].yardstick_us, apart[0][1].yardstick_us
        yield (
            f"at {len(apart)} of {len(sides)} points the machine was in another state: a flag "
            f"between ranks took {base:.3g} us in base and {new:.3g} us in new; measure again, or "
            "judge nevertheless with --any-state"
        )


def _has_one_launch(run: RunRecord, sides: Sides) -> bool:
    return any(len(result.launch_samples) == 1 for result in _common(run, sides).values())


def _common(run: RunRecord, keys: Mapping[Key, object]) -> dict[Key, Result]:
    return {key: result for key, result in points_of(run).items() if key in keys}


def _of_points(name: str, sides: Mapping[Key, Side], run: RunRecord) -> Iterator[str]:
    results = _common(run, sides)
    for key, result in results.items():
        if result.stop_reason == "unfinished":
            yield f"unfinished in {name}: {key}: {result.samples} samples"
    for key, side in sides.items():
        if side.problem is not None:
            yield f"no interval in {name}: {key}: {side.problem}"
    for key, result in results.items():
        if result.check.status == "failed":
            check = result.check
            yield f"wrong in {name}: {key}: {check.wrong} of {check.elements} elements"
