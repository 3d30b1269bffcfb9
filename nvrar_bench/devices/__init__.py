"""The names that --device takes."""

from __future__ import annotations

from nvrar_bench.errors import Unavailable, UsageError

NAMES = ("auto", "cpu", "cuda")


def require_known(name: str) -> None:
    """Refuse a name that is no device (UsageError)."""
    if name not in NAMES:
        raise UsageError(f"--device {name}: no such device; allowed: {', '.join(NAMES)}")


def unavailable(name: str, reason: str) -> Unavailable:
    """The error of a device that was asked for by name."""
    other = "; or measure CPU ranks: --device cpu" if name == "cuda" else ""
    return Unavailable(f"--device {name} is not available: {reason}{other}")
