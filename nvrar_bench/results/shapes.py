"""A check of parsed JSON against a JSON Schema (2020-12).

It knows the few words of JSON Schema that the tables of this package use, so that reading needs no
further dependency; the tests hold it against the jsonschema package.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from math import isfinite
from typing import Any

Schema = dict[str, Any]

_GZIP = b"\x1f\x8b"
_SURROGATE = re.compile(r"[\ud800-\udfff]|\\u[dD][89a-fA-F]")  # in JSON; those of pairs too


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
    if isinstance(value, list) and "items" in schema and not _fit(value, schema["items"]):
        for i, item in enumerate(value):
            yield from problems(item, schema["items"], f"{where}[{i}]")


_PLAIN_WORDS = {"type", "minimum", "maximum", "description"}
_PLAIN: dict[str, set[type]] = {"number": {int, float}, "integer": {int}, "null": {type(None)}}


def _fit(values: list[Any], schema: Schema) -> bool:
    """Say whether `values` fit `schema`, without a look at each in Python.

    A record of many launches has millions of numbers. False says that they have to be looked at one
    by one, and is the answer for all but numbers and closed objects of them.
    """
    if schema.get("type") == "object":
        return _objects_fit(values, schema)
    types = schema.get("type", [])
    kinds = [_PLAIN.get(name, set()) for name in ([types] if isinstance(types, str) else types)]
    if not (_PLAIN_WORDS.issuperset(schema) and set().union(*kinds).issuperset(map(type, values))):
        return False
    numbers = [value for value in values if value is not None]
    most = min(schema.get("maximum", sys.float_info.max), sys.float_info.max)
    least: float = schema.get("minimum", -sys.float_info.max)
    return not numbers or bool(least <= min(numbers) and max(numbers) <= most)


def _objects_fit(values: list[Any], schema: Schema) -> bool:
    fields = schema.get("properties", {})
    names = fields.keys()
    if schema.get("additionalProperties", True) or set(schema.get("required", [])) != set(names):
        return False
    if not all(isinstance(value, dict) and value.keys() == names for value in values):
        return False
    return all(_fit([value[name] for value in values], of) for name, of in fields.items())


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
    """Read JSON that has no NaN and no infinity; of bytes, in UTF-8, UTF-16 or UTF-32, or gzipped.

    Half a surrogate pair, which is no text, comes back as the characters of its escape.

    Raises:
        ValueError, TypeError, RecursionError: it is none.
    """
    # A mapping goes through its text too: then one path decides what is JSON and what is not.
    text = json.dumps(source, allow_nan=False) if isinstance(source, Mapping) else source
    text = _decoded(text) if isinstance(text, bytes) else text
    value = json.loads(text, parse_float=_finite, parse_constant=_finite)
    return whole_texts(value) if _SURROGATE.search(text) else value


def _decoded(content: bytes) -> str:
    if content.startswith(_GZIP):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"it begins as gzip, but is damaged: {error}") from error
    return content.decode(json.detect_encoding(content))


def whole_texts(value: Any) -> Any:
    """Return `value` with each lone surrogate in its texts, keys too, as a backslash escape.

    Arguments and paths that are not UTF-8 have such, and readers of JSON refuse them.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, Mapping):
        return {whole_texts(key): whole_texts(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [whole_texts(item) for item in value]
    return value


def to_text(value: Any, indent: int | None = None) -> str:
    """Write `value` as JSON that every reader takes.

    Raises:
        ValueError, TypeError, RecursionError: JSON has no word for it, such as NaN.
    """
    text = json.dumps(value, indent=indent, allow_nan=False)
    if _SURROGATE.search(text):
        text = json.dumps(whole_texts(value), indent=indent, allow_nan=False)
    return text


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError(f"{text} is no JSON number that a float can hold")
    return number
