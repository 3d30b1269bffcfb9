"""What two runs must have in common, what else differs, and what weakens a verdict on them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from nvrar_bench.documents.comparison import Difference, PointKey
from nvrar_bench.documents.record import RunRecord
from nvrar_bench.documents.result import Result
from nvrar_bench.statistics.doubts import TOLERATED
from nvrar_bench.statistics.machine_states import YARDSTICKS, Readings, are_apart
from nvrar_bench.statistics.points import points_of
from nvrar_bench.statistics.verdicts import Pair, Side
from nvrar_bench.units import format_size

_LONGEST = 100  # characters of a fact that are shown

_SHAPE = ("ranks", "nodes", "ranks_per_node", "virtual_nodes")
# Of the settings: what is measured, and under which conditions. The value is what a record means
# that lacks the key: it was written before there was such an option.
_CONDITIONS: dict[str, Any] = {
    "virtual_ranks": None,
    "graph": 1,
    "cold_cache": False,
    "share_gpu": False,
    "check": True,
    "interleave": False,
    "soak": None,
}
# Settings that say which points there are: points that are missing are named one by one.
_OF_POINTS = {
    *("sweeps", "sizes", "dtype", "op", "placement", "buffers", "protocol", "backends", "device"),
    *("nodes", "start"),
}
_JUDGED = {"start", "oversubscribed", "soak"}  # of the environment, under other names here
# Written since 1.3; a record without it is of all samples.
_ONE_STATE = "one_state"
_MEASURED = {"clocks", "ruler", "launches", "tuning"}  # of each run anew


def disagreements(base: RunRecord, new: RunRecord) -> tuple[Difference, ...]:
    """Return the facts that must agree and do not: then no verdict would mean anything."""
    return tuple(_differing(dict(_must_agree(base)), dict(_must_agree(new))))


def differences(base: RunRecord, new: RunRecord) -> tuple[Difference, ...]:
    """Return what else differs: often the very thing that the runs are compared for."""
    return tuple(_differing(dict(_may_differ(base)), dict(_may_differ(new))))


def _differing(base: dict[str, Any], new: dict[str, Any]) -> Iterator[Difference]:
    for fact in dict.fromkeys((*base, *new)):
        texts = _text(base.get(fact)), _text(new.get(fact))
        if texts[0] != texts[1]:
            yield Difference(fact, *texts)


def _must_agree(record: RunRecord) -> Iterator[tuple[str, Any]]:
    for name in _SHAPE:
        yield name, getattr(record.topology, name)
    yield "device", ", ".join(sorted({result.device for result in record.results}))
    # As it was, rather than as it was asked for: `auto` is not a way to start.
    start = record.environment.get("start", record.settings.get("start"))
    if isinstance(start, dict):
        start = f"{start.get('mode')} through {start.get('through')}"
    yield "start", start
    yield "oversubscribed", record.environment.get("oversubscribed", False)
    for name, before in _CONDITIONS.items():
        yield name, record.settings.get(name, before)
    # A graph holds all calls of a sample; before there were batches, a sample was a call.
    has_graph = record.settings.get("graph", 1) != 1
    yield "batch", 1 if has_graph else record.settings.get("batch", 1)


def _may_differ(record: RunRecord) -> Iterator[tuple[str, Any]]:
    yield "nvrar-bench", record.run.version
    yield "hosts", ", ".join(dict.fromkeys(place.host for place in record.topology.placement))
    yield _ONE_STATE, record.one_state
    for name, value in record.settings.items():
        if name not in _CONDITIONS and name not in _OF_POINTS | {"batch", _ONE_STATE}:
            yield name, value
    for name, value in record.environment.items():
        if name not in _JUDGED | _MEASURED:
            yield from _flat(name, value)


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Name the entries of a table one by one; leave out what was measured, which always differs."""
    entries = value.items() if isinstance(value, dict) else ()
    for key, item in entries:
        if not isinstance(item, float):
            yield f"{name}.{key}", item
    if not isinstance(value, dict | float):
        yield name, value


def _text(value: Any) -> str:
    if value is None:
        return "none"
    try:
        text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    except RecursionError:
        return "too deeply nested to show"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


Pairs = Mapping[PointKey, Pair]

# Student's t of fewer launches makes an interval wide.
FEW_LAUNCHES = 6
ONE_LAUNCH = (
    "how launches differ is unknown, so intervals are widened by --launch-spread; use --launches"
)


def notes(
    base: RunRecord, new: RunRecord, pairs: Pairs, differing: Collection[PointKey]
) -> Iterator[str]:
    """Yield what weakens a verdict or takes its place, worst last.

    Of the points that are `differing`, the machine may be why.
    """
    others = {key: pair for key, pair in pairs.items() if not pair.is_itself}
    if len(others) < len(pairs):
        same = len(pairs) - len(others)
        where = f" at {same} of {len(pairs)} points" if others else ""
        yield (
            f"new is the same run as base{where}: the samples are the same, and so is every figure"
        )
    sides: dict[str, Mapping[PointKey, Side]] = {
        name: {key: getattr(pair, name) for key, pair in others.items()} for name in ("base", "new")
    }
    single = [name for name, of in sides.items() if any(one.has_one_launch for one in of.values())]
    if single:
        yield f"one launch in {' and '.join(single)}: {ONE_LAUNCH}"
    yield from _left_out(sides)
    yield from _few_launches(sides)
    yield from _apart(pairs)
    yield from _other_state({key: others[key] for key in differing if key in others}, len(pairs))
    yield from _launched_otherwise(base, new, pairs)
    for name, run in (("base", base), ("new", new)):
        if run.run.status != "complete":
            yield f"{name} is not complete: {run.run.status}"
        yield from _of_points(name, sides[name], run)


def _left_out(sides: Mapping[str, Mapping[PointKey, Side]]) -> Iterator[str]:
    for name, of in sides.items():
        measured = [side.measured for side in of.values() if side.measured.left_out]
        most = max((m.left_out / (m.left_out + m.samples) for m in measured), default=0.0)
        if most > TOLERATED:
            yield (
                f"samples of {name} found the machine at another speed and are left out: up to "
                f"{most:.0%} of a point"
            )


def _few_launches(sides: Mapping[str, Mapping[PointKey, Side]]) -> Iterator[str]:
    for name, of in sides.items():
        kept = [one.kept_launches for one in of.values() if one.measured.left_out]
        few = [(some, every) for some, every in kept if some < min(FEW_LAUNCHES, every)]
        if few:
            yield (
                f"at {len(few)} of {len(of)} points few launches of {name} ran at the common "
                f"speed, {min(few)[0]} of {min(few)[1]} at least: intervals are wide there; use "
                "--max-launches"
            )


def _apart(pairs: Pairs) -> Iterator[str]:
    apart = [pair.readings_us for pair in pairs.values() if pair.apart]
    if apart:
        yield (
            f"at {len(apart)} of {len(pairs)} points the machine ran at other speeds in base and "
            f"new ({_readings(*apart[0])}); measure again, or compare without --one-state"
        )


def _other_state(pairs: Pairs, of: int) -> Iterator[str]:
    """By the yardstick, in which no backend is."""
    differing = [pair.readings_us for pair in pairs.values() if are_apart(*pair.readings_us)]
    if differing:
        yield (
            f"the machine itself changed speed at {len(differing)} of {of} points that are not the "
            f"same ({_readings(*differing[0])}); --one-state compares only samples of equal speed"
        )


def _launched_otherwise(base: RunRecord, new: RunRecord, pairs: Pairs) -> Iterator[str]:
    """A tuning table, an option or another version may be why; the figures show the effect."""
    ours, theirs = points_of(base), points_of(new)
    changed = [key for key in pairs if _launch(ours[key]) != _launch(theirs[key])]
    if changed:
        key = changed[0]
        yield (
            f"NVRAR had other settings at {len(changed)} of {len(pairs)} points: at {key.size} "
            f"{_launch(ours[key])} in base, {_launch(theirs[key])} in new"
        )


def _launch(result: Result) -> str:
    of = result.shape
    if of is None:
        return "unknown"
    chunk = format_size(of.chunk_bytes)
    exchange = "" if of.exchange == "doubling" else f", {of.exchange}"
    return f"{of.blocks} x {of.threads} threads, chunks of {chunk}, radix {of.radix}{exchange}"


def _readings(*both: Readings | None) -> str:
    base, new = (
        ", ".join(f"{what} {us:.3g}" for what, us in zip(YARDSTICKS, one or (), strict=False))
        for one in both
    )
    return f"{base} us in base, {new} us in new"


def _of_points(name: str, sides: Mapping[PointKey, Side], run: RunRecord) -> Iterator[str]:
    results = {key: result for key, result in points_of(run).items() if key in sides}
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
