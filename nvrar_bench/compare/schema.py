"""The JSON Schema (2020-12) of a comparison; by test, the dataclasses of `document` follow it."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from nvrar_bench.compare.document import FORMAT, FORMAT_VERSION, SIDES, VERDICTS
from nvrar_bench.results.shapes import Schema, closed_object, problems

_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_POSITIVE: Schema = {"type": "integer", "minimum": 1}
_PART: Schema = {"type": "number", "minimum": 0, "maximum": 1}
_RATIO: Schema = {"type": ["number", "null"], "minimum": 0}
_US: Schema = {"type": ["number", "null"], "minimum": 0}


def _said(schema: Schema, description: str) -> Schema:
    return {**schema, "description": description}


def _list_of(items: Schema) -> Schema:
    return {"type": "array", "items": items}


_RUN_FACTS = {
    "file": _said(_TEXT, "as given"),
    "id": _said(_TEXT, "of the run"),
    "started_at": _said(_TEXT, "ISO 8601, UTC"),
    "status": _TEXT,
    "version": _said(_TEXT, "of nvrar-bench, that measured"),
    "launches": _said(_COUNT, "of mpirun, at most, of a point"),
}
_KEY = {
    **dict.fromkeys(("backend", "variant", "device", "buffers", "dtype", "op"), _TEXT),
    "placement": _TEXT,
    "size_bytes": _said(_COUNT, "per rank"),
    "count": _said(_COUNT, "elements per rank"),
    "repeat": _said(_COUNT, "how often the run has had the same point before"),
}
_MEASURED = {
    "median_us": _said(_US, "median of the launches' medians; null without samples"),
    "low_us": _said(_US, "of its 95 % interval; null without one"),
    "high_us": _said(_US, "of its 95 % interval; null without one"),
    "samples": _said(_COUNT, "that count: without late ones"),
    "launches": _said(_COUNT, "that are compared"),
    "left_out": _said(
        _COUNT,
        "samples in time that found the machine in another state; 0 unless that was asked for",
    ),
}
_POINT = {
    **_KEY,
    "base": closed_object(_MEASURED),
    "new": closed_object(_MEASURED),
    "ratio": _said(_RATIO, "new / base; null where a result is wrong or has no interval"),
    "low": _said(_RATIO, "of the ratio's 95 % interval"),
    "high": _said(_RATIO, "of the ratio's 95 % interval"),
    "verdict": {"enum": list(VERDICTS)},
    "launches_needed": _said(
        {"type": ["integer", "null"], "minimum": 2}, "of each run, to decide what is undecided"
    ),
}
_DIFFERENCE = {"fact": _TEXT, "base": _TEXT, "new": _TEXT}
_COMPARISON = {
    "new": closed_object(_RUN_FACTS),
    "points": _said(_list_of(closed_object(_POINT)), "that both runs have"),
    "missing": _list_of(closed_object({**_KEY, "missing_in": {"enum": list(SIDES)}})),
    "differences": _said(_list_of(closed_object(_DIFFERENCE)), "facts that may differ, and do"),
    "notes": _list_of(_TEXT),
    "summary": _said(
        closed_object(dict.fromkeys(("points", *VERDICTS, "missing"), _COUNT)), "how many of each"
    ),
}
_DOCUMENT = {
    "format": {"const": FORMAT},
    "format_version": {"const": FORMAT_VERSION},
    "version": _said(_TEXT, "of nvrar-bench, that compared"),
    "threshold": _said(_PART, "0.05 is 5 %"),
    "launch_spread": _said(_PART, "intervals are so much wider where a run has one launch"),
    "one_state": _said({"type": "boolean"}, "of samples that found the machine in one state"),
    "confidence": _said(_PART, "of all intervals"),
    "replicates": _said(_POSITIVE, "of the bootstrap"),
    "seed": _said(_COUNT, "of the bootstrap"),
    "base": closed_object(_RUN_FACTS),
    "comparisons": _said(_list_of(closed_object(_COMPARISON)), "one per new run, in order"),
}
_SCHEMA: Schema = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "nvrar-bench comparison",
    **closed_object(_DOCUMENT),
}


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a comparison, a copy of the caller's own."""
    return deepcopy(_SCHEMA)


def first_problem(value: Any) -> str | None:
    """Say where and why `value`, parsed JSON, is no comparison; None when it is one."""
    return next(problems(value, _SCHEMA, ""), None)
