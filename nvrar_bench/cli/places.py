"""Where a command reads and writes: no file that it writes replaces another of its files.

Every command that writes a file calls `require_places` before it does anything else.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path
from typing import TextIO

from nvrar_bench.documents.files import STDOUT, require_writable
from nvrar_bench.errors import CaseFileError, UsageError
from nvrar_bench.networks import file_of
from nvrar_bench.streams import results
from nvrar_bench.variables import named_table

_PRINTED = "standard output"
NamedPath = tuple[str, Path | None]  # an option or argument, and its path; None: not given


def require_places(
    writes: Iterable[NamedPath], reads: Iterable[NamedPath] = (), *, only_files: Iterable[str] = ()
) -> None:
    """Refuse what cannot be written, and what is written where something else is read or written.

    Links and other spellings of a path count as the same file. Standard input and output count
    where they are files. The options of `only_files` do not take `-`.

    UsageError: names both options and their paths.
    """
    written, read = (
        [(name, path) for name, path in named if path is not None] for named in (writes, reads)
    )
    for option, path in written:
        require_writable(path, option, or_stdout=option not in only_files)
    _require_one(written, "both go to standard output", "- for one of them")
    _require_one(read, "standard input can be read once", "a file for all but one")
    # What is printed may go to a file by `>`, and that may be one of ours.
    printed = [(_PRINTED, STDOUT)] if all(path != STDOUT for _, path in written) else []
    for one, other in combinations([*written, *printed], 2):
        _require_apart(one, _identity(one, results()), other, _identity(other, results()))
    for one in [*written, *printed]:
        for other in read:
            _require_apart(one, _identity(one, results()), other, _identity(other, sys.stdin))


def run_reads(case: str | None, tuning: Path | None, network: str | None = None) -> list[NamedPath]:
    """What a run reads: its case file, its tuning table, its network, as written or by default."""
    return [
        ("--case", _case_path(case)),
        ("--tuning", named_table(tuning)),
        ("--network", None if network is None else file_of(network)),
    ]


def _case_path(case: str | None) -> Path | None:
    if case is None:
        return None
    from nvrar_bench.settings.casefile import find_case_file  # it loads NumPy

    try:
        return find_case_file(case)
    except CaseFileError:
        return None  # who reads it says so


def _require_one(named: list[tuple[str, Path]], problem: str, allowed: str) -> None:
    """Refuse more than one `-`."""
    names = [f"{name} -" for name, path in named if path == STDOUT]
    if len(names) > 1:
        raise UsageError(f"{names[0]} with {names[1]}: {problem}; allowed: {allowed}")


def _require_apart(
    one: tuple[str, Path], identity: object, other: tuple[str, Path], others: object
) -> None:
    if identity is not None and identity == others:
        said = [name if name == _PRINTED else f"{name} {path}" for name, path in (one, other)]
        raise UsageError(f"{said[0]} is the same file as {said[1]}; allowed: another file")


def _identity(named: tuple[str, Path], stream: TextIO | None) -> object:
    """What identifies a file; None for what no file is, such as a pipe or a terminal."""
    path = named[1]
    try:
        if path == STDOUT:
            status = os.fstat(stream.fileno()) if stream is not None else None
        else:
            status = path.stat()
    except FileNotFoundError:
        return os.path.realpath(path)
    except (OSError, ValueError):  # of a stream that is no file; of a path that cannot be
        return None
    if status is None or not stat.S_ISREG(status.st_mode):
        return None
    return status.st_dev, status.st_ino
