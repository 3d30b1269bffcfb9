"""Compiled kernels on disk, found by the hash of everything that went into them.

An entry is a folder with the binary, its source and the command that built it. It is written to a
temporary folder and renamed, so readers never see half of one; whoever comes second to the rename
finds the same content there and uses it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from nvrar_bench.errors import Unavailable
from nvrar_bench.problem import Problem

CACHE_VARIABLE = "NVRAR_BENCH_CACHE"


def cache_dir() -> Path:
    """$NVRAR_BENCH_CACHE, or nvrar-bench in the user's cache folder (XDG Base Directory)."""
    override = os.environ.get(CACHE_VARIABLE)
    if override:
        return Path(override)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "nvrar-bench"


def content_key(facts: Iterable[str]) -> str:
    """Hash `facts`; two lists that differ in any fact, or in their order, differ in the key."""
    digest = hashlib.sha256()
    for fact in facts:
        encoded = fact.encode()
        digest.update(f"{len(encoded)}:".encode())
        digest.update(encoded)
    return digest.hexdigest()[:32]


def find_or_build(name: str, key: str, filename: str, build: Callable[[Path], None]) -> Path:
    """Return the path of `filename` in the entry `name`-`key`, building the entry if it is missing.

    `build` is given an empty folder and leaves `filename` there.

    Raises:
        Unavailable: the cache folder cannot be written.
        whatever `build` raises; nothing is left behind then.
    """
    entry = cache_dir() / f"{name}-{key}"
    if (entry / filename).is_file():
        return entry / filename
    stage = _stage(entry)
    try:
        build(stage)
        _publish(stage, entry, filename)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return entry / filename


def require_writable() -> None:
    """Find out whether an entry can be made.

    Raises:
        Unavailable: the cache folder cannot be written.
    """
    shutil.rmtree(_stage(cache_dir() / "probe"), ignore_errors=True)


def _publish(stage: Path, entry: Path, filename: str) -> None:
    """Make the finished `stage` the entry; that another process was first is fine."""
    with contextlib.suppress(OSError):
        stage.rename(entry)
    if not (entry / filename).is_file():  # a cleaner of old files took it from the entry
        with contextlib.suppress(OSError):
            (stage / filename).rename(entry / filename)


def _stage(entry: Path) -> Path:
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{entry.name}.", dir=entry.parent))
    except OSError as error:
        what = f"the kernel cache {entry.parent} cannot be written ({error.strerror})"
        raise Unavailable(
            Problem(what, f"set {CACHE_VARIABLE} to a folder that can", "; ")
        ) from error
