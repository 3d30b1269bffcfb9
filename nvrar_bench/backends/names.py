"""The names that --backend takes, apart from the registry: checking one loads no backend."""

from __future__ import annotations

from collections.abc import Sequence

from nvrar_bench.errors import UsageError

NAMES = ("nccl", "mpi", "nvrar", "fake")


def require_known(names: Sequence[str], where: str = "--backend") -> None:
    """Refuse a name that is no backend.

    Raises:
        UsageError: naming it and what is allowed.
    """
    for name in names:
        if name not in NAMES:
            raise UsageError(f"{where} {name}: no such backend; allowed: {', '.join(NAMES)}")
