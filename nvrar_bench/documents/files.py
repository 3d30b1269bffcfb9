"""Texts in files and on standard output: a file is replaced in one step, or stays as it was."""

from __future__ import annotations

import contextlib
import gzip
import os
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path
from uuid import uuid4

from nvrar_bench.errors import NvrarBenchError, UsageError
from nvrar_bench.streams import results

STDOUT = Path("-")


def require_writable(destination: Path | None, option: str, *, or_stdout: bool = True) -> None:
    """Find out before any work whether `destination`, of `option`, can be written.

    A file is created and removed beside it, because permission bits alone mean nothing to root, or
    on a full or read-only file system. None and `-` are nothing to find out about. `or_stdout`
    says whether the message offers `-`.

    Raises:
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

    Raises:
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
        content = gzip.compress(content, mtime=0)
    temporary = _temporary(target)
    try:
        with open(temporary, "xb", opener=partial(_create, like=target)) as file:
            file.write(content)
            file.flush()
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
