"""JSON as text, and texts in files: a file is replaced in one step, or stays as it was."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import stat
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any
from uuid import uuid4

from nvrar_bench.errors import NvrarBenchError, UsageError
from nvrar_bench.streams import results

STDOUT = Path("-")
_GZIP = b"\x1f\x8b"
_SURROGATE = re.compile(r"[\ud800-\udfff]|\\u[dD][89a-fA-F]")  # in JSON; those of pairs too


def require_writable(destination: Path | None, option: str, *, or_stdout: bool = True) -> None:
    """Find out before any work whether `destination`, of `option`, can be written.

    A file is created and removed beside it, because permission bits alone mean nothing to root, or
    on a full or read-only file system. None and `-` are nothing to find out about. `or_stdout` says
    whether the message offers `-`.

    UsageError: names the option, the path, and why it cannot be written.
    """
    if destination is None or destination == STDOUT:
        return
    try:
        target = target_of(destination)
        _refuse_special(target)
        temporary = _temporary(target)
        temporary.touch(exist_ok=False)
        temporary.unlink()
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise UsageError(
            f"{option} {str(destination)!r} cannot be written: {reason_of(error)}; "
            f"allowed: a file in an existing folder that you may write to"
            f"{', or -' if or_stdout else ''}"
        ) from error


def write_text(destination: Path | None, text: str, option: str) -> None:
    """Write `text` as UTF-8 to a file, which it replaces, or to standard output.

    None writes nothing.

    NvrarBenchError: names the option, the path and why; the old file stays.
    """
    if destination is None:
        return
    try:
        if destination == STDOUT:
            results().buffer.write(text.encode("utf-8"))
            results().buffer.flush()
        else:
            replace(target_of(destination), text)
    except (OSError, RuntimeError) as error:
        raise NvrarBenchError(f"{option} {destination}: {reason_of(error)}") from error


def replace(target: Path, text: str, wanted: Callable[[], bool] = lambda: True) -> None:
    """Put `text` where `target` is, in one step, if it is still `wanted` when it is written.

    It is compressed if the name says so, and who may read the old file may read the new one.
    """
    content = text.encode("utf-8")
    if target.suffix == ".gz":
        # Without the time, so that equal records are equal files.
        content = gzip.compress(content, mtime=0)
    temporary = _temporary(target)
    try:
        with open(temporary, "xb", opener=partial(_create, like=target)) as file:
            file.write(content)
            file.flush()
            # The rename may reach the disk before the content: a crash would leave an empty file.
            os.fsync(file.fileno())
        if wanted():
            temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _create(path: str, flags: int, like: Path) -> int:
    """Create a file with the owner and the permissions of `like`, if there is such a file."""
    try:
        old = like.stat()
    except FileNotFoundError:
        return os.open(path, flags, 0o666)
    descriptor = os.open(path, flags, 0o600)
    with contextlib.suppress(PermissionError):  # of another's file, in a folder that is ours
        os.chown(descriptor, old.st_uid, old.st_gid)
    os.chmod(descriptor, stat.S_IMODE(old.st_mode))
    return descriptor


def target_of(destination: Path) -> Path:
    """Follow symbolic links: what they point at is written, and the link stays a link."""
    return destination.resolve()


def _temporary(target: Path) -> Path:
    """Name a file beside `target`; its own name may already be as long as a name can be."""
    return target.parent / f".nvrar-bench-{uuid4().hex}.tmp"


def _refuse_special(target: Path) -> None:
    """Refuse what is no plain file: a rename would put one where /dev/null was."""
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        raise ValueError("it is a folder")
    if not stat.S_ISREG(mode):
        raise ValueError("it is not a regular file")
    if not os.access(target, os.W_OK):
        raise ValueError("it is read-only")


def reason_of(error: Exception) -> str:
    """Say why a file could not be read or written."""
    return (isinstance(error, OSError) and error.strerror) or str(error)


def parse_json(source: bytes | str | Mapping[str, Any]) -> Any:
    """Read JSON that has no NaN and no infinity; of bytes, in UTF-8, UTF-16 or UTF-32, or gzipped.

    Half a surrogate pair, which is no text, comes back as the characters of its escape.

    ValueError, TypeError, RecursionError: it is none.
    """
    # A mapping goes through its text too: then one path decides what is JSON and what is not.
    text = json.dumps(source, allow_nan=False) if isinstance(source, Mapping) else source
    text = _decoded(text) if isinstance(text, bytes) else text
    value = json.loads(text, parse_float=_finite, parse_constant=_finite)
    return whole_texts(value) if _SURROGATE.search(text) else value


def parsed(source: bytes | str | Mapping[str, Any], what: str) -> Any:
    """Read JSON, as `parse_json`. UsageError: it is none; the message begins with `what`."""
    try:
        return parse_json(source)
    # ValueError: not UTF-8, not JSON, NaN, endless digits. RecursionError: endless nesting.
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"{what}: {error}") from error


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

    NvrarBenchError: `what` holds something that JSON has no word for, such as NaN.
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
