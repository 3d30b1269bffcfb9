"""The JSON Schema (2020-12) of the run record, and the check of a value against it.

`_FIELDS` is the one table: the schema, the reader's check and, by test, the dataclasses of
`record` follow it.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from nvrar_bench.datatypes import DTYPES, OPS
from nvrar_bench.results.shapes import Schema, closed_object, problems

FORMAT = "nvrar-bench.run"
FORMAT_VERSION = "1.3"
STATUSES = ("complete", "failed", "interrupted")

_TEXT: Schema = {"type": "string"}
_TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
_COUNT: Schema = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
_COUNT_OR_NULL: Schema = {**_COUNT, "type": ["integer", "null"]}
_POSITIVE: Schema = {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}
_NUMBER: Schema = {"type": "number", "minimum": 0}
_NUMBER_OR_NULL: Schema = {"type": ["number", "null"], "minimum": 0}
_SIGNED_OR_NULL: Schema = {"type": ["number", "null"]}
_ELEMENT: Schema = {"type": ["number", "string"]}
_FACTS: Schema = {"type": "object"}


def _said(schema: Schema, description: str) -> Schema:
    return {**schema, "description": description}


def _one_of(*values: str | None) -> Schema:
    return {"enum": list(values)}


def _list_of(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _object(name: str, **words: Any) -> Schema:
    return closed_object(_FIELDS[name], **words)


_FIELDS: dict[str, dict[str, Schema]] = {}
_FIELDS["Run"] = {
    "id": _said(_TEXT, "unique to this run"),
    "started_at": _said(_TEXT, "ISO 8601, UTC"),
    "finished_at": _said(_TEXT_OR_NULL, "ISO 8601, UTC; null while the run goes on"),
    "status": _said(_one_of(*STATUSES), "interrupted also while the run goes on"),
    "command": _said(_list_of(_TEXT), "the arguments, as given"),
    "version": _said(_TEXT, "of nvrar-bench"),
}
_FIELDS["RankPlace"] = {
    "rank": _COUNT,
    "host": _TEXT,
    "node": _said(_COUNT, "index of the node, virtual or real"),
    "local_rank": _said(_COUNT, "index of the rank in its node"),
    "device": _TEXT_OR_NULL,
}
_FIELDS["Topology"] = {
    "ranks": _POSITIVE,
    "nodes": _POSITIVE,
    "ranks_per_node": _POSITIVE,
    "virtual_nodes": _said({"type": "boolean"}, "the nodes share one machine"),
    "placement": _list_of(_object("RankPlace")),
}
_FIELDS["Latency"] = {
    "median": _NUMBER,
    "ci95_low": _said(_NUMBER_OR_NULL, "of the median; null below 6 effective samples"),
    "ci95_high": _said(_NUMBER_OR_NULL, "of the median; null below 6 effective samples"),
    "mean": _NUMBER,
    "min": _NUMBER,
    "max": _NUMBER,
    "p95": _said(_NUMBER_OR_NULL, "null below n = 100"),
    "p99": _said(_NUMBER_OR_NULL, "null below n = 100"),
}
_FIELDS["Independence"] = {
    "effective_samples": _said(
        _NUMBER, "independent samples that would tell as much of the median"
    ),
    "lag1": _said(_SIGNED_OR_NULL, "autocorrelation at lag 1 of the side of the median"),
    "drift": _said(_SIGNED_OR_NULL, "of the first samples above the rest, as a part of the median"),
}
_FIELDS["Launches"] = {
    "count": _said(_POSITIVE, "of mpirun"),
    "medians_us": _said(_list_of(_NUMBER), "of each launch"),
    "within_us": _said(_NUMBER_OR_NULL, "standard error of a launch's median, from its samples"),
    "between_us": _said(_NUMBER_OR_NULL, "standard deviation of launches beyond that; null for 1"),
}
_FIELDS["Precision"] = {
    "target": _said(_NUMBER_OR_NULL, "asked for; null where a number of samples was"),
    "reached": _said(_NUMBER_OR_NULL, "half-width of the interval / median; null without interval"),
}
_FIELDS["Arrival"] = {
    "launch": _COUNT,
    "rank": _COUNT,
    "median_us": _said(_NUMBER, "behind the agreed start, or behind the first rank"),
    "max_us": _NUMBER,
}
_YARDSTICK = {
    "flag_us": _said(_NUMBER_OR_NULL, "that a flag took to the last rank"),
    "copy_us": _said(_NUMBER_OR_NULL, "that ranks took to copy 64 KiB that a peer had written"),
    "work_us": _said(_NUMBER_OR_NULL, "that ranks took for fixed arithmetic, all at once"),
}
_FIELDS["Stretch"] = {"samples": _COUNT, **_YARDSTICK}
_FIELDS["State"] = {
    **_YARDSTICK,
    "left_out": _said(_COUNT, "samples in time of other states: not in the median"),
}
_FIELDS["Shape"] = {
    "blocks": _said(_POSITIVE, "of each rank"),
    "threads": _said(_POSITIVE, "of each block"),
    "chunk_bytes": _said(_POSITIVE, "of a slice, that a block handles at a time"),
    "radix": _said(_POSITIVE, "nodes that exchange directly in one step"),
    "tuned_at": _said(_COUNT_OR_NULL, "size in the tuning table that this follows; null: none"),
}
_FIELDS["FirstWrong"] = {
    "rank": _COUNT,
    "index": _COUNT,
    "expected": _said(_ELEMENT, "a number, or a text for nan and infinities"),
    "seen": _said(_ELEMENT, "a number, or a text for nan and infinities"),
}
_FIELDS["Check"] = {
    "status": _one_of("passed", "failed", "skipped"),
    "mode": _said(_one_of("exact", "rounding", "wrap", None), "null when skipped"),
    "elements": _said(_COUNT, "compared, over all ranks"),
    "wrong": _said(_COUNT, "of those"),
    "first_wrong": _object("FirstWrong", type=["object", "null"]),
    "timed": _said({"type": "boolean"}, "timed calls are among those whose output was compared"),
}
_FIELDS["Result"] = {
    "backend": _TEXT,
    "variant": _said(_TEXT, "of the backend, such as its protocol; empty when it has none"),
    "device": _TEXT,
    "buffers": _one_of("symmetric", "private"),
    "dtype": _one_of(*DTYPES),
    "op": _one_of(*OPS),
    "placement": _one_of("in_place", "out_of_place"),
    "size_bytes": _said(_COUNT, "per rank"),
    "count": _said(_COUNT, "elements per rank"),
    "latency_us": _said(_object("Latency"), "microseconds; a sample is the maximum over ranks"),
    "samples": _said(_COUNT, "how many"),
    "samples_us": _said(_list_of(_NUMBER), "microseconds, in the order in which they were taken"),
    "launch_samples": _said(_list_of(_COUNT), "how many of them each launch took, in order"),
    "late": _said(
        _list_of(_COUNT), "indices of samples that a rank began late: not in the figures"
    ),
    "warmup": _said(_COUNT, "calls before the first sample"),
    "stop_reason": _said(
        _TEXT,
        "iterations, precision, max_samples, max_time, unfinished; of tune: alike, slower, winner",
    ),
    "precision": _said(_object("Precision"), "of the median"),
    "independence": _object("Independence"),
    "launches": _object("Launches"),
    "arrivals": _said(_list_of(_object("Arrival")), "per launch and rank"),
    "algbw_gb_per_s": _said(_NUMBER, "size / median, 1e9 bytes per second"),
    "busbw_gb_per_s": _said(_NUMBER, "algbw x 2(n-1)/n for n ranks"),
    "check": _object("Check"),
    "warnings": _list_of(_TEXT),
    "stretches": _said(
        _list_of(_object("Stretch")), "of samples_us, in order, between readings of the yardstick"
    ),
    "state": _said(_object("State"), "of the machine, that the figures are of"),
    "shape": _said(
        _object("Shape", type=["object", "null"]), "of NVRAR's launch; null for other backends"
    ),
    "batch": _said(_POSITIVE, "calls of a sample, which is their time divided by so many"),
}
_FIELDS["Skipped"] = {"backend": _TEXT, "reason": _TEXT}
_FIELDS["ErrorEntry"] = {
    "type": _said(_TEXT, "name of the error class"),
    "message": _TEXT,
}
_FIELDS["RunRecord"] = {
    "format": {"const": FORMAT},
    "format_version": {"const": FORMAT_VERSION},
    "run": _object("Run"),
    "settings": _said(_FACTS, "every option as resolved"),
    "topology": _object("Topology"),
    "environment": _said(_FACTS, "allow-listed facts, never the whole environment"),
    "results": _list_of(_object("Result")),
    "skipped": _list_of(_object("Skipped")),
    "errors": _list_of(_object("ErrorEntry")),
}

_SCHEMA: Schema = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "nvrar-bench run record",
    **_object("RunRecord"),
}


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the run record, a copy of the caller's own."""
    return deepcopy(_SCHEMA)


def first_problem(value: Any) -> str | None:
    """Say where and why `value`, parsed JSON, is no run record; None when it is one."""
    return next(problems(value, _SCHEMA, ""), None)
