"""The names that --device takes, and whether there is such a device."""

from __future__ import annotations

from nvrar_bench.errors import Unavailable, UsageError

NAMES = ("auto", "cpu", "cuda")


def require_known(name: str) -> None:
    """Refuse a name that is no device.

    Raises:
        UsageError: naming it and what is allowed.
    """
    if name not in NAMES:
        raise UsageError(f"--device {name}: no such device; allowed: {', '.join(NAMES)}")


def require_available(name: str) -> None:
    """Refuse a device that is not there.

    Raises:
        UsageError: it is no device at all.
        Unavailable: naming what is missing.
    """
    require_known(name)
    if name == "cuda":
        raise Unavailable(
            "--device cuda is not available: this version runs on CPU ranks only; "
            "use --device cpu or auto"
        )
