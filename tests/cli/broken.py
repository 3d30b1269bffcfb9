"""`nvrar-bench` with a fault of its own: rank $BROKEN_RANK fails in the second case."""

from __future__ import annotations

import itertools
import os
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
    from nvrar_bench.measure.rules import Stopping

    points = itertools.count()

    def spoiled(*arguments: Any) -> Any:
        if next(points) == 1 and rank(os.environ) == int(os.environ["BROKEN_RANK"]):
            raise RuntimeError("two\nlines")
        return make_rule(*arguments)

    make_rule, Stopping.rule = Stopping.rule, spoiled


if __name__ == "__main__":
    sweep.execute = spoiled_execute
    main()
