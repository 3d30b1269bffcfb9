"""The JSON Schema (2020-12) of what `env` writes; by test, `inventory` has the same fields."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from nvrar_bench.results.inventory import FORMAT, FORMAT_VERSION, STATUSES
from nvrar_bench.results.shapes import Schema, closed_object, problems

_TEXT: Schema = {"type": "string"}
_TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
_COUNT: Schema = {"type": "integer", "minimum": 0}


def _said(schema: Schema, description: str) -> Schema:
    return {**schema, "description": description}


def _list_of(items: Schema) -> Schema:
    return {"type": "array", "items": items}


_ROW = {
    "group": _said(_TEXT, "what it belongs to, such as MPI"),
    "name": _said(_TEXT, "what it is, such as mpirun on PATH"),
    "status": _said({"enum": list(STATUSES)}, "wrong: it is there, and cannot be used"),
    "version": _TEXT_OR_NULL,
    "path": _TEXT_OR_NULL,
    "detail": _said(_TEXT_OR_NULL, "what else is to be known of it"),
    "problem": _said(_TEXT_OR_NULL, "what is missing or wrong; null if it is here"),
    "fix": _said(_TEXT_OR_NULL, "what to do about that, such as a command to type"),
    "needed_for": _said(_list_of(_TEXT), "devices, backends on one, options"),
}
_ABILITY = {
    "device": _TEXT,
    "backend": _said(_TEXT_OR_NULL, "null: of the device itself"),
    "can_run": {"type": "boolean"},
    "reason": _said(_TEXT_OR_NULL, "why it cannot; null if it can"),
    "fix": _said(_TEXT_OR_NULL, "what to do about that"),
}
_DOCUMENT = {
    "format": {"const": FORMAT},
    "format_version": {"const": FORMAT_VERSION},
    "version": _said(_TEXT, "of nvrar-bench"),
    "host": _TEXT,
    "taken_at": _said(_TEXT, "ISO 8601, UTC"),
    "rows": _list_of(closed_object(_ROW)),
    "settings": _said({"type": "object"}, "allow-listed environment variables, text by name"),
    "abilities": _said(_list_of(closed_object(_ABILITY)), "what this machine can run"),
    "summary": _said(closed_object(dict.fromkeys(STATUSES, _COUNT)), "rows of each status"),
}
_SCHEMA: Schema = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "nvrar-bench env",
    **closed_object(_DOCUMENT),
}


def schema() -> dict[str, Any]:
    """Return the JSON Schema of what `env` writes, a copy of the caller's own."""
    return deepcopy(_SCHEMA)


def first_problem(value: Any) -> str | None:
    """Say where and why `value`, parsed JSON, is no inventory; None when it is one."""
    return next(problems(value, _SCHEMA, ""), None)
