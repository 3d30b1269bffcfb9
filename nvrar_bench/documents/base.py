"""What all documents have in common: objects, numbers with bounds, the JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

_MOST = 2**63 - 1
Count = Annotated[int, Meta(ge=0, le=_MOST)]
Positive = Annotated[int, Meta(ge=1, le=_MOST)]
Number = Annotated[float, Meta(ge=0)]
Part = Annotated[float, Meta(ge=0, le=1)]
Buffers = Literal["symmetric", "private"]


class JsonObject(Struct, frozen=True, forbid_unknown_fields=True):
    """An object of a document: it has all of its keys, in this order, and no others."""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain dicts, lists, texts and numbers."""
        return {key: _plain(getattr(self, key)) for key in self.__struct_fields__}


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
    _, parts = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **parts.pop(kind.__name__),
        "$defs": parts,
    }
