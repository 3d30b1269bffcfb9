"""Every place in parsed JSON, and a check of one document against its schema."""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator

from nvrar_bench.documents import JsonObject, checked, schema_of
from nvrar_bench.errors import UsageError


def paths(value: Any) -> list[list[Any]]:
    """The keys and indices of all that is in `value`."""
    keys = value if isinstance(value, dict) else range(len(value))
    found: list[list[Any]] = []
    for key in keys if isinstance(value, dict | list) else ():
        below = paths(value[key]) if isinstance(value[key], dict | list) else []
        found += [[key], *([key, *rest] for rest in below)]
    return found


def set_at(value: Any, path: list[Any], new: Any) -> None:
    """Put `new` at `path`; KeyError removes what is there."""
    for key in path[:-1]:
        value = value[key]
    if new is KeyError:
        del value[path[-1]]
    else:
        value[path[-1]] = new


def problem(kind: type[JsonObject], value: Any) -> str | None:
    """What the reader's check says of parsed JSON, which it may change."""
    try:
        checked(kind, value, "this")
    except UsageError as error:
        return str(error).removeprefix("this: ")
    return None


def validator(kind: type[JsonObject]) -> Draft202012Validator:
    """An independent judge."""
    return Draft202012Validator(schema_of(kind))


def require_agreement(kind: type[JsonObject], value: Any) -> None:
    """The reader's check and the schema say the same."""
    valid = validator(kind).is_valid(value)
    assert (problem(kind, value) is None) == valid
