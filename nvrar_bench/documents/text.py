"""JSON as text: what every reader takes is written, and what is no JSON is refused."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Mapping
from math import isfinite
from typing import Any

from nvrar_bench.errors import NvrarBenchError

_GZIP = b"\x1f\x8b"
_SURROGATE = re.compile(r"[\ud800-\udfff]|\\u[dD][89a-fA-F]")  # in JSON; those of pairs too


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


def encode_lines(plain: Mapping[str, Any], what: str) -> str:
    """Write `plain` as JSON text, one line per key and one per item of its lists.

    Raises:
        NvrarBenchError: as `encode`, naming `what` it is.

    """
    try:
        parts = [f" {to_text(k)}: {_encode_value(v)}" for k, v in plain.items()]
    except (TypeError, ValueError, RecursionError) as error:
        raise NvrarBenchError(f"{what} cannot be written as JSON: {error}") from error
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _encode_value(value: object) -> str:
    if not isinstance(value, list) or not value:
        return to_text(value)
    items = ",\n  ".join(map(to_text, value))
    return f"[\n  {items}\n ]"
