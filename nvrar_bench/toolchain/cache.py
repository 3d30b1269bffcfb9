"""Compiled kernels on disk, found by the hash of everything that went into them.

An entry is a folder with the binary, its source, the command that built it and the digests of all
these. It is written to a temporary folder and renamed, so readers never see half of one; a
process that is second finds the same content there and uses it. What a disk or a person has
damaged since is not what the digests say, and is built again.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import mmap
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from nvrar_bench.errors import Problem, Unavailable

CACHE_VARIABLE = "NVRAR_BENCH_CACHE"

_DIGESTS = "sha256"
# The fault of the disk, not of the kernel: it is full, read-only or broken.
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


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
        encoded = fact.encode("utf-8", "surrogateescape")
        # With its length: else ("ab", "c") and ("a", "bc") would be one key.
        digest.update(f"{len(encoded)}:".encode())
        digest.update(encoded)
    return digest.hexdigest()[:32]


def find_or_build(name: str, key: str, filename: str, build: Callable[[Path], None]) -> Path:
    """Return the path of `filename` in the entry `name`-`key`, building what is missing or damaged.

    `build` is given an empty folder and leaves `filename` there; where it raises, nothing is left
    behind. Unavailable: the cache folder cannot be written.
    """
    entry = cache_dir() / f"{name}-{key}"
    if _is_whole(entry, filename):
        return entry / filename
    stage = _stage(entry)
    try:
        build(stage)
        _seal(stage)
        _publish(stage, entry, filename)
    except OSError as error:
        raise _unwritable(entry.parent, error) if error.errno in _OF_THE_DISK else error from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return entry / filename


def is_there(name: str, key: str, filename: str) -> bool:
    """Whether `find_or_build` would find it, whole."""
    return _is_whole(cache_dir() / f"{name}-{key}", filename)


def require_usable() -> None:
    """Find out whether an entry can be made, and whether code in it can run on the CPU.

    Unavailable: the cache folder cannot be written, or is mounted noexec.
    """
    # By doing it: access(2) says nothing of a full disk, nor of noexec.
    stage = _stage(cache_dir() / "probe")
    try:
        _require_executable(stage)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def not_loaded(library: Path, error: OSError) -> Unavailable:
    """What to raise where the `library` of an entry was not loaded."""
    try:
        require_usable()
    except Unavailable as cause:
        return cause
    what = f"{library} cannot be loaded ({error})"
    return Unavailable(Problem(what, f"remove {library.parent}, and it is built anew", "; "))


def _require_executable(folder: Path) -> None:
    """Map a page of a file in `folder` as code, which is what loading a library does."""
    page = folder / "page"
    try:
        page.write_bytes(bytes(mmap.PAGESIZE))
        with page.open("rb") as file:
            mmap.mmap(
                file.fileno(), mmap.PAGESIZE, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC
            ).close()
    except PermissionError as error:
        what = f"the kernel cache {folder.parent} may hold no code that runs (it is mounted noexec)"
        raise Unavailable(
            Problem(what, f"set {CACHE_VARIABLE} to a folder on another file system", "; ")
        ) from error
    except OSError as error:
        raise _unwritable(folder.parent, error) from error


def _is_whole(entry: Path, filename: str) -> bool:
    """Whether all files of the entry are what was built: a cut library kills who loads it."""
    try:
        lines = (entry / _DIGESTS).read_text().splitlines()
        digests = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
        return filename in digests and digests == {name: _digest(entry / name) for name in digests}
    except (OSError, ValueError):
        return False


def _seal(stage: Path) -> None:
    """Write the digests of all files, in the form that `sha256sum --check` reads."""
    lines = [f"{_digest(path)}  {path.name}\n" for path in sorted(stage.iterdir())]
    (stage / _DIGESTS).write_text("".join(lines))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _publish(stage: Path, entry: Path, filename: str) -> None:
    """Make the finished `stage` the entry; that another process was first is fine.

    A damaged entry gets the new files one by one, the digests last: who loaded an old file
    keeps it, and a file is at no moment missing.
    """
    with contextlib.suppress(OSError):
        # It fails where the entry is there: a folder replaces none that has files.
        stage.rename(entry)
        return
    if _is_whole(entry, filename):
        return
    for path in sorted(stage.iterdir(), key=lambda path: path.name == _DIGESTS):
        path.replace(entry / path.name)


def _stage(entry: Path) -> Path:
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{entry.name}.", dir=entry.parent))
    except OSError as error:
        raise _unwritable(entry.parent, error) from error


def _unwritable(folder: Path, error: OSError) -> Unavailable:
    what = f"the kernel cache {folder} cannot be written ({error.strerror})"
    return Unavailable(Problem(what, f"set {CACHE_VARIABLE} to a folder that can", "; "))
