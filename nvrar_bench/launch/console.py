"""Consoles for people.

A launcher stands between a rank and the terminal, and may give it a pseudo-terminal where the user
has a pipe. So `--ranks` passes on what it sees, and without that a launched rank assumes
that there is no terminal.
"""

from __future__ import annotations

import os
import shutil
import sys
from typing import TextIO

from rich.console import Console

from nvrar_bench.launch.environment import expected_ranks
from nvrar_bench.report.grid import WIDE
from nvrar_bench.streams import results

_VARIABLE = "NVRAR_BENCH_TERMINAL"


def announce_terminal() -> None:
    """Pass on to later ranks which of stdout and stderr are terminals, and how wide."""
    names = [name for name in ("stdout", "stderr") if _is_terminal(_stream(name))]
    os.environ[_VARIABLE] = " ".join([str(_columns(results())), *names])


def console(name: str) -> Console:
    """A console on `stdout` or `stderr`."""
    stream = _stream(name)
    columns, *terminals = os.environ.get(_VARIABLE, "0").split()
    if name in terminals:
        return Console(file=stream, force_terminal=True, width=int(columns))
    if _is_terminal(stream):
        return Console(file=stream, width=_columns(stream) if name == "stdout" else None)
    return Console(file=stream, force_terminal=False, width=WIDE)


def _stream(name: str) -> TextIO:
    return results() if name == "stdout" else sys.stderr


def _columns(stream: TextIO) -> int:
    """How wide its terminal is; shutil looks at descriptor 1 alone, which is standard error."""
    named = os.environ.get("COLUMNS", "")
    if named.isdecimal() and int(named):
        return int(named)
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except OSError:
        return shutil.get_terminal_size().columns


def _is_terminal(stream: TextIO) -> bool:
    """Whether it is the user's: what a launcher gives its ranks may look like one."""
    return stream.isatty() and expected_ranks(os.environ) is None
