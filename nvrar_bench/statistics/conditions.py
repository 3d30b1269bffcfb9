"""What two runs must have in common to be compared, and what else differs between them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from nvrar_bench.documents.comparison import Difference
from nvrar_bench.documents.record import RunRecord

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
