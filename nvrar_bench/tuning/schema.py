"""The JSON Schema (2020-12) of a tuning table; by test, the dataclasses of `document` follow it."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from nvrar_bench.backends.nvrar.space import PROTOCOLS
from nvrar_bench.datatypes import DTYPES, OPS
from nvrar_bench.plan import AXES
from nvrar_bench.results.shapes import Schema, closed_object, problems
from nvrar_bench.tuning.document import ENDINGS, FORMAT, FORMAT_VERSION, STATUSES

_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
_POSITIVE: Schema = {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}
_US: Schema = {"type": "number", "minimum": 0}
_US_OR_NULL: Schema = {"type": ["number", "null"], "minimum": 0}
_BOOLEAN: Schema = {"type": "boolean"}


def _said(schema: Schema, description: str) -> Schema:
    return {**schema, "description": description}


_MADE_FOR = {
    "device": _said(_TEXT, "cpu or cuda"),
    "arch": _said(_TEXT, "of the GPUs, such as sm_90, or of the CPUs"),
    "fabric": _said(_TEXT, "host, nvshmem or loopback"),
    "nodes": _POSITIVE,
    "ranks_per_node": _POSITIVE,
    "virtual_nodes": _said(_BOOLEAN, "the nodes share one machine"),
    "ranks_per_device": _said(_POSITIVE, "more than 1 where GPUs are shared"),
}
_MADE_ON = {
    "processor": _said(_TEXT, "model of the GPU, or of the CPU"),
    "hosts": {"type": "array", "items": _TEXT},
    "kernels_sha256": _said(_TEXT, "of the kernel sources, names and contents"),
    "libraries": _said({"type": "object"}, "versions by name"),
}
_MEASURED = {
    "median_us": _said(_US, "microseconds; a sample is the maximum over ranks"),
    "ci95_low_us": _said(_US_OR_NULL, "of the median; null below 6 effective samples"),
    "ci95_high_us": _said(_US_OR_NULL, "of the median; null below 6 effective samples"),
}
_CHOICE = {
    "dtype": {"enum": list(DTYPES)},
    "op": {"enum": list(OPS)},
    "buffers": {"enum": list(AXES["buffers"].allowed)},
    "size_bytes": _said(_POSITIVE, "per rank"),
    "protocol": {"enum": list(PROTOCOLS)},
    "blocks": _said(_POSITIVE, "of each rank"),
    "threads": _said(_POSITIVE, "of each block"),
    "chunk_bytes": _said(_POSITIVE, "of a slice, that a block handles at a time"),
    "radix": _said(
        {"type": "integer", "minimum": 2, "maximum": 64}, "nodes that exchange in one step"
    ),
    "is_auto": _said(_BOOLEAN, "it is what auto chooses without a table"),
    "measured": _said(closed_object(_MEASURED), "of the choice"),
    "auto": _said(
        closed_object(_MEASURED, type=["object", "null"]),
        "of what auto chooses without a table; null where the device refuses it",
    ),
    "tried": _said(_POSITIVE, "launches that were measured"),
    "level": _said(_POSITIVE, "of those, that could not be told from the fastest"),
    "refused": _said(_COUNT, "launches that the device refused"),
    "ended_by": _said({"enum": list(ENDINGS)}, "what ended the search"),
}
_DOCUMENT = {
    "format": {"const": FORMAT},
    "format_version": {"const": FORMAT_VERSION},
    "version": _said(_TEXT, "of nvrar-bench"),
    "made_at": _said(_TEXT, "ISO 8601, UTC"),
    "status": _said({"enum": list(STATUSES)}, "interrupted: sizes may be missing"),
    "made_for": _said(closed_object(_MADE_FOR), "what must fit where it is used"),
    "made_on": closed_object(_MADE_ON),
    "choices": {"type": "array", "items": closed_object(_CHOICE)},
}
_SCHEMA: Schema = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "nvrar-bench tuning table",
    **closed_object(_DOCUMENT),
}


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a tuning table, a copy of the caller's own."""
    return deepcopy(_SCHEMA)


def first_problem(value: Any) -> str | None:
    """Say where and why `value`, parsed JSON, is no tuning table; None when it is one."""
    return next(problems(value, _SCHEMA, ""), None)
