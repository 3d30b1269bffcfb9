"""`nvrar-bench` with a fault of its own: rank $BROKEN_RANK fails in the second case."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable
from typing import Any

from nvrar_bench.__main__ import main
from nvrar_bench.cli import sweep
from nvrar_bench.launch import rank

execute = sweep.execute


def spoiled_execute(make_settings: Callable[[], Any], **how: Any) -> None:
    execute(lambda: spoil() or make_settings(), **how)


def spoil() -> None:
    """Once this process is a rank: only then may NumPy be there, and MPI not even then."""
    from nvrar_bench.measure import loop

    calls = itertools.count()

    def spoiled(*arguments: int) -> list[int]:
        if next(calls) == 1 and rank(os.environ) == int(os.environ["BROKEN_RANK"]):
            raise RuntimeError("two\nlines")
        return shares(*arguments)

    shares, loop.shares = loop.shares, spoiled
    if "nvrar_bench.session.case" in sys.modules:  # it has its own name for it already
        sys.modules["nvrar_bench.session.case"].shares = spoiled


if __name__ == "__main__":
    sweep.execute = spoiled_execute
    main()
