"""A check of parsed JSON against a JSON Schema (2020-12).

It knows the few words of JSON Schema that the tables of this package use, so that reading needs no
further dependency; the tests hold it against the jsonschema package.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from math import isfinite
from typing import Any

Schema = dict[str, Any]


def closed_object(fields: dict[str, Schema], **words: Any) -> Schema:
    """Return the schema of an object that has `fields`, all of them and no others."""
    shape = {"properties": fields, "required": list(fields), "additionalProperties": False}
    return {"type": "object", **shape, **words}


def problems(value: Any, schema: Schema, where: str) -> Iterator[str]:
    """Yield where and why `value`, found at `where`, does not fit `schema`."""
    place = where or "the record"
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if types and not any(_TYPES[name](value) for name in types):
        yield f"{place} is {_short(value)}; allowed: {' or '.join(types)}"
        return
    choices = [schema["const"]] if "const" in schema else schema.get("enum")
    if choices is not None and value not in choices:
        yield f"{place} is {_short(value)}; allowed: {', '.join(map(str, choices))}"
    if _is_number(value):
        yield from _out_of_bounds(value, schema, place)
    if isinstance(value, dict):
        yield from _in_object(value, schema, where)
    if isinstance(value, list) and "items" in schema:
        for i, item in enumerate(value):
            yield from problems(item, schema["items"], f"{where}[{i}]")


def _is_number(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and abs(value) <= sys.float_info.max


def _is_integer(value: Any) -> bool:
    """JSON Schema counts 1.0 as an integer."""
    return _is_number(value) and value == int(value)


_TYPES: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "number": _is_number,
    "integer": _is_integer,
}


def _out_of_bounds(value: float, schema: Schema, place: str) -> Iterator[str]:
    if value < schema.get("minimum", value):
        yield f"{place} is {_short(value)}; allowed: {schema['minimum']} and more"
    if value > schema.get("maximum", value):
        yield f"{place} is {_short(value)}; allowed: {schema['maximum']} and less"


def _in_object(value: dict[str, Any], schema: Schema, where: str) -> Iterator[str]:
    prefix = f"{where}." if where else ""
    fields = schema.get("properties", {})
    for key in schema.get("required", []):
        if key not in value:
            yield f"{prefix}{key} is missing"
    for key in value:
        if key in fields:
            yield from problems(value[key], fields[key], f"{prefix}{key}")
        elif not schema.get("additionalProperties", True):
            yield f"{_short(prefix + key)} is unknown; allowed: {', '.join(fields)}"


def _short(value: Any) -> str:
    """Show a value on one line, however long it is."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def parse_json(source: bytes | str | Mapping[str, Any]) -> Any:
    """Read JSON that has no NaN and no infinity.

    Raises:
        ValueError, TypeError, RecursionError: it is none.
    """
    # A mapping goes through its text too: then one path decides what is JSON and what is not.
    text = json.dumps(source, allow_nan=False) if isinstance(source, Mapping) else source
    text = text.decode("utf-8") if isinstance(text, bytes) else text
    return json.loads(text, parse_float=_finite, parse_constant=_finite)


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError(f"{text} is no JSON number that a float can hold")
    return number
