"""The process that looks: a line for each step, so that its reader knows which one it died of.

    python .../nvrar_bench/launch/again.py nvrar_bench.inventory.worker [NETWORK] FIRST

It loads libraries that may print, hang, or end their process. What they print goes to stderr.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TextIO

from nvrar_bench.inventory.tables import STEPS, Step, steps
from nvrar_bench.launch.processes import signal_when_parent_ends
from nvrar_bench.networks import table
from nvrar_bench.results.inventory import Ability, Row
from nvrar_bench.streams import set_apart

READY = "ready"


def serve(todo: Sequence[Step], out: TextIO) -> None:
    """Take all of `todo`, and write a line as soon as one is done."""
    print(READY, file=out, flush=True)
    for step in todo:
        print(json.dumps([asdict(one) for one in step.take()]), file=out, flush=True)


def read(line: str) -> list[Row | Ability]:
    """What a line of `serve` holds."""
    found = json.loads(line)
    return [
        Row(**{**one, "needed_for": tuple(one["needed_for"])}) if "group" in one else Ability(**one)
        for one in found
    ]


def _forbid_mpi_init() -> None:
    """Whoever imports mpi4py.MPI from here on does not initialise MPI."""
    try:
        import mpi4py
    except ImportError:  # a row says so
        return
    mpi4py.rc.initialize = mpi4py.rc.finalize = False


def main(first: int, todo: Sequence[Step] = STEPS) -> None:
    """Take all steps from `first` on, and end without asking the libraries."""
    signal_when_parent_ends(signal.SIGKILL)
    out = os.fdopen(set_apart(), "w")
    _forbid_mpi_init()
    serve(todo[first:], out)
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[-1]), steps(*map(table.read, sys.argv[1:-1])))
