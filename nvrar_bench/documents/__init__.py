"""What nvrar-bench writes and reads: run record, comparison, tuning table, inventory.

A document is a frozen `msgspec.Struct` whose fields are the keys of its JSON, in their order. Its
JSON Schema and the check of a file that is read are derived from the type: parsed JSON becomes a
document, or one message with the place, what is there, and what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

from nvrar_bench.documents.files import to_text
from nvrar_bench.errors import UsageError

_MOST = 2**63 - 1  # what a 64-bit integer of other languages holds
Count = Annotated[int, Meta(ge=0, le=_MOST)]
Positive = Annotated[int, Meta(ge=1, le=_MOST)]
Number = Annotated[float, Meta(ge=0)]
Us = Number | None  # microseconds; null where nothing is known
ZeroToOne = Annotated[float, Meta(ge=0, le=1)]


def says(description: str) -> Meta:
    """Describe a field in the JSON Schema."""
    return Meta(description=description)


class JsonObject(Struct, frozen=True, forbid_unknown_fields=True):
    """An object of a document: it has all of its keys, in this order, and no others."""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain dicts, lists, texts and numbers."""
        return {key: _plain(getattr(self, key)) for key in self.__struct_fields__}


def encode(document: JsonObject) -> str:
    """Write a document as JSON text."""
    return to_text(document.to_json(), indent=1) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, JsonObject):
        return value.to_json()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def schema_of(kind: type[JsonObject]) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a document."""
    # The document itself goes to the top, and only what it refers to into $defs.
    _, parts = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **parts.pop(kind.__name__),
        "$defs": parts,
    }


_Kind = TypeVar("_Kind", bound=JsonObject)
_Steps = list[str | int]

# How msgspec words what is wrong: the problem, and where.
_PATH = re.compile(r" - at `\$((?:\.\w+|\[\d+\])+)`$")
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")
_TYPES = re.compile(r"Expected `([^`]+)`, got")
_BOUND = re.compile(r"Expected `\w+` ([<>])= (\S+?)(?:\.0)?(?: - at |$)")
_MISSING = re.compile(r"missing required field `(\w+)`")
_UNKNOWN = "Object contains unknown field"
_NAMES = {"int": "integer", "float": "number", "str": "string", "bool": "boolean"}


def checked(kind: type[_Kind], value: Any, what: str) -> _Kind:
    """Make a document of parsed JSON, which may change here; `what` begins the message.

    UsageError: it is none; the message names the place, what is there and what is allowed.
    """
    while True:
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            text = str(error)
            steps = _steps(text)
            # A round converts one key wherever it is: there are no more rounds than keys.
            if not (steps and "got `float`" in text and _make_integers(value, steps)):
                raise UsageError(f"{what}: {_message(kind, value, steps, text)}") from error


def _steps(text: str) -> _Steps:
    """Return the keys and indices of the path in a message, such as `$.results[1].check`."""
    path = _PATH.search(text)
    return [key or int(index) for key, index in _STEP.findall(path[1])] if path else []


def _make_integers(value: Any, steps: _Steps) -> bool:
    """Turn 1.0 into 1, as JSON Schema counts it, at `steps` and in all items of lists on the way.

    Return whether there was one.
    """
    # All places are found before the first is changed: a list that is walked stays as it is.
    found = [(holder, key) for holder, key in _places(value, steps) if _is_whole(holder[key])]
    for holder, key in found:
        holder[key] = int(holder[key])
    return bool(found)


def _places(value: Any, steps: _Steps) -> Iterator[tuple[Any, Any]]:
    """Yield what holds a value at `steps`, and its key; any index stands for all of them."""
    first, *rest = steps
    if isinstance(first, int):
        keys: Any = range(len(value)) if isinstance(value, list) else ()
    else:
        keys = [first] if isinstance(value, dict) and first in value else ()
    # All items of a list at once: a record has millions of samples, and each error is one round.
    for key in keys:
        if rest:
            yield from _places(value[key], rest)
        else:
            yield value, key


def _is_whole(value: Any) -> bool:
    return isinstance(value, float) and value.is_integer()


def _message(kind: Any, value: Any, steps: _Steps, text: str) -> str:
    if text.startswith(_UNKNOWN):
        return _unknown(kind, value, steps)
    if missing := _MISSING.search(text):
        return f"{_named([*steps, missing[1]])} is missing"
    for step in steps:
        value = value[step]
    return f"{_named(steps)} is {_short(value)}; allowed: {_allowed(kind, steps, text)}"


def _unknown(kind: Any, value: Any, steps: _Steps) -> str:
    if set(value) - set(kind.__struct_encode_fields__):
        steps = []  # a key may read like the end of a message
    for step in steps:
        value = value[step]
    fields = _object(_at(kind, steps)).__struct_encode_fields__
    key = next(key for key in value if key not in fields)
    return f"{_short(_named([*steps, key]))} is unknown; allowed: {', '.join(fields)}"


def _allowed(kind: Any, steps: _Steps, text: str) -> str:
    here = _at(kind, steps)
    if get_origin(here) is Literal:
        return ", ".join(map(str, get_args(here)))
    if bound := _BOUND.search(text):
        return f"{bound[2]} and {'more' if bound[1] == '>' else 'less'}"
    if types := _TYPES.search(text):
        return " or ".join(_NAMES.get(name, name) for name in types[1].split(" | "))
    return "a number that a float can hold" if "out of range" in text else text


def _at(kind: Any, steps: _Steps) -> Any:
    """Return the type of what is at `steps` of a document."""
    for step in steps:
        kind = _object(kind)
        if isinstance(step, int):
            kind = get_args(kind)[0]
        else:
            names = dict(zip(kind.__struct_encode_fields__, kind.__struct_fields__, strict=True))
            kind = get_type_hints(kind)[names[step]]
    return kind


def _object(kind: Any) -> Any:
    """Return `X` of `X | None`."""
    if get_origin(kind) in (Union, UnionType):
        return next(one for one in get_args(kind) if one is not NoneType)
    return kind


def _named(steps: _Steps) -> str:
    """Write `results[1].check`."""
    texts = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return "".join(texts).removeprefix(".") or "the record"


def _short(value: Any) -> str:
    """Show a value on one line, however long it is."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
