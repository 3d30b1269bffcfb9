"""Files that ship but are not Python, packages that are installed, TOML, files in memory."""

from __future__ import annotations

import codecs
import errno
import os
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from nvrar_bench.errors import NvrarBenchError, Problem, Unavailable, UsageError

_PACKAGE = Path(__file__).resolve().parent

# By name, because type checkers for 3.10 look for tomli, which newer Pythons do not install.
_toml = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

# The parser's time grows with the square of a dotted key's length.
MAX_BYTES = 64 << 10


def data_dir(name: str) -> Path:
    """Find the folder `name` ("kernels", "cases" or "networks"), in a wheel or in a checkout.

    The wheel's own copy comes first: beside an installed package lies all of site-packages, where
    a folder of that name belongs to somebody else. NvrarBenchError: it is in neither place.
    """
    candidates = (_PACKAGE / "_data" / name, _PACKAGE.parent / name)
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    looked_at = " or ".join(str(candidate) for candidate in candidates)
    raise NvrarBenchError(f"this installation lacks its {name} folder; looked for {looked_at}")


def installed(name: str) -> str | None:
    """The version of a package, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def memory_file(name: str, nbytes: int) -> int:
    """Open an anonymous file in memory, of `nbytes` zeroed bytes; return its descriptor.

    Unavailable: the limit on the size of files, which holds for these too, is too low.
    """
    descriptor = os.memfd_create(name)
    try:
        os.ftruncate(descriptor, nbytes)
    except OSError as error:
        os.close(descriptor)
        if error.errno != errno.EFBIG:
            raise
        what = f"a file of {nbytes} bytes in memory is larger than `ulimit -f` allows"
        fix = "type `ulimit -f unlimited` before, on every host"
        raise Unavailable(Problem(what, fix)) from None
    return descriptor


def load_toml(path: Path, refused: type[UsageError] = UsageError) -> dict[str, Any]:
    """Read a TOML file of at most MAX_BYTES: one message for whatever is wrong with it.

    `refused`: the file cannot be read, is too long, or is not TOML.
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
