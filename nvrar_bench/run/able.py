"""Which backend runs which case."""

from __future__ import annotations

from nvrar_bench.backends.base import Backend
from nvrar_bench.plan import Case
from nvrar_bench.settings.settings import Settings


def refusal(settings: Settings, backend: Backend, case: Case) -> str | None:
    """Why `backend` does not run `case`, or None; the same on every rank."""
    reason = backend.unsupported(case)
    if reason is None and case.check_mode == "wrap" and not (backend.wraps or settings.wrap_asked):
        return "it leaves open what becomes of an integer that overflows; --check-mode wrap asks it"
    return reason
