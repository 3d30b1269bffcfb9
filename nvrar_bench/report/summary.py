"""A correctness run in a few lines: how many cases passed per backend, and what failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from nvrar_bench.documents.record import RunRecord
from nvrar_bench.documents.result import Result
from nvrar_bench.units import format_size


def write(record: RunRecord, console: Console) -> None:
    """Print the summary of `record`."""
    for line in _lines(record):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _lines(record: RunRecord) -> list[str]:
    topology = record.topology
    lines = [f"{topology.ranks} ranks; MPI library: {record.environment.get('mpi_library')}"]
    lines += checked(record)
    lines += _soak(record.environment.get("soak"))
    lines += [f"skipped {skipped.backend}: {skipped.reason}" for skipped in record.skipped]
    lines += [_failure(result) for result in record.results if result.check.status == "failed"]
    return lines


def checked(record: RunRecord) -> list[str]:
    """Say of each backend how many of its results passed."""
    lines = []
    counted = Counter((result.backend, result.check.status) for result in record.results)
    for backend in dict.fromkeys(result.backend for result in record.results):
        passed, failed = counted[backend, "passed"], counted[backend, "failed"]
        skipped = counted[backend, "skipped"]
        elements = sum(r.check.elements for r in record.results if r.backend == backend)
        unchecked = f", {skipped} not checked" if skipped else ""
        lines.append(
            f"{backend}: {passed} passed, {failed} failed{unchecked}; {elements} elements compared"
        )
    return lines


def _soak(done: Any) -> list[str]:
    """Describe a soak; in somebody else's record anything may be under its name."""
    if not isinstance(done, Mapping):
        return []
    by_backend = done.get("calls_by_backend")
    counted = by_backend.items() if isinstance(by_backend, Mapping) else ()
    calls = ", ".join(f"{name} {count}" for name, count in counted)
    seconds = done.get("seconds")
    took = f"{seconds:.1f} s" if isinstance(seconds, int | float) else "an unknown time"
    return [f"soak: {done.get('calls')} verified calls in {took}: {calls}"]


def _failure(result: Result) -> str:
    first = result.check.first_wrong
    seen = ""
    if first is not None:
        seen = f"; first on rank {first.rank}, element {first.index}: "
        seen += f"expected {first.expected}, saw {first.seen}"
    return (
        f"FAILED {result.backend} {result.variant} {result.dtype} {result.op} "
        f"{format_size(result.size_bytes)} {result.placement} {result.buffers}: "
        f"{result.check.wrong} wrong{seen}"
    )
