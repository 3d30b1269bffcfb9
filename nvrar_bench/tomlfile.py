"""Reading a TOML file from outside: one message for whatever is wrong with it."""

from __future__ import annotations

import codecs
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from nvrar_bench.errors import UsageError

# By name, because type checkers for 3.10 look for tomli, which newer Pythons do not install.
_toml = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

# The parser's time grows with the square of a dotted key's length.
MAX_BYTES = 64 << 10


def load(path: Path, refused: type[UsageError] = UsageError) -> dict[str, Any]:
    """Read a file of at most MAX_BYTES.

    Raises:
        UsageError: as `refused`: the file cannot be read, is too long, or is not TOML.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise refused(f"{path}: is too long; allowed: up to {MAX_BYTES} bytes")
        document: dict[str, Any] = _toml.loads(_text(content))
    except OSError as error:
        raise refused(f"{path}: cannot be read: {error.strerror}") from error
    # Not only TOMLDecodeError: bad UTF-8 and endless digits are other ValueErrors, and endless
    # nesting ends in a RecursionError.
    except (ValueError, RecursionError) as error:
        raise refused(f"{str(path)!r}: is not TOML: {error}") from error
    return document


def _text(content: bytes) -> str:
    """Editors may begin a file with a byte-order mark, or save it as UTF-16."""
    is_utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if is_utf_16 else "utf-8-sig")
