"""The names that --backend takes, apart from the registry: checking one loads no backend."""

from __future__ import annotations

from collections.abc import Sequence

from nvrar_bench.errors import Unavailable, UsageError

NAMES = ("nccl", "mpi", "nvrar", "fake")


def require_known(names: Sequence[str], where: str = "--backend") -> None:
    """Refuse a name that is no backend (UsageError)."""
    for name in names:
        if name not in NAMES:
            raise UsageError(f"{where} {name}: no such backend; allowed: {', '.join(NAMES)}")


def unavailable(name: str, reason: str | None) -> Unavailable:
    """The error of a backend that was asked for by name."""
    return Unavailable(f"--backend {name} is not available: {reason}")
