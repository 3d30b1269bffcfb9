"""Versions of the run record: those of earlier formats get what they lack, others are refused.

1.1 added launches, late samples, independence, precision, arrivals and the yardstick; 1.2 how NVRAR
was launched; 1.3 how many calls a sample has, and whether timed calls were verified.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from nvrar_bench import __version__

FORMAT: Final = "nvrar-bench.run"
FORMAT_VERSION: Final = "1.3"
OLDER = ("1.0", "1.1", "1.2")
_NO_STATE = {"flag_us": None, "copy_us": None, "work_us": None, "left_out": 0}

# What a result without the key means: one launch of which nothing else was taken down.
_MEANT: Mapping[str, Callable[[dict[str, Any]], Any]] = {
    "launch_samples": lambda result: [result.get("samples")],
    "late": lambda _: [],
    "precision": lambda _: {"target": None, "reached": None},
    "independence": lambda result: {
        "effective_samples": result.get("samples"), "lag1": None, "drift": None,
    },
    "launches": lambda result: {
        "count": 1, "medians_us": [_median(result)], "within_us": None, "between_us": None,
    },
    "arrivals": lambda _: [],
    "stretches": lambda _: [],
    "state": lambda _: dict(_NO_STATE),
    "shape": lambda _: None,
    "batch": lambda _: 1,
}  # fmt: skip
_GONE = ("yardstick_us",)  # of 1.1, before stretches


def upgraded(value: Any) -> Any:
    """Return parsed JSON as a record of today's format; what is no older record, as it is."""
    if not (isinstance(value, dict) and value.get("format_version") in OLDER):
        return value
    results = value.get("results")
    if isinstance(results, list):
        results = [_upgraded(one) if isinstance(one, dict) else one for one in results]
    return {**value, "format_version": FORMAT_VERSION, "results": results}


def of_another_version(value: Any) -> str | None:
    """Say who wrote parsed JSON that is a record of a format unknown here; None where it is not."""
    if not (isinstance(value, dict) and value.get("format") == FORMAT):
        return None
    version = value.get("format_version")
    if version is None or version == FORMAT_VERSION:
        return None
    run = value.get("run")
    writer = run.get("version") if isinstance(run, dict) else None
    return (
        f"this record has format_version {version!r}, written by nvrar-bench {writer}; allowed: "
        f"{', '.join(OLDER)} and {FORMAT_VERSION}, which this nvrar-bench "
        f"{__version__} reads: use the one that wrote it, or measure again"
    )


def _upgraded(result: dict[str, Any]) -> dict[str, Any]:
    known = {key: item for key, item in result.items() if key not in _GONE}
    added = {key: meant(result) for key, meant in _MEANT.items() if key not in result}
    return {**known, **added, **_checked(result)}


def _checked(result: dict[str, Any]) -> dict[str, Any]:
    """Without batches, what was verified was timed."""
    check = result.get("check")
    return {"check": {"timed": True, **check}} if isinstance(check, dict) else {}


def _median(result: dict[str, Any]) -> Any:
    latency = result.get("latency_us")
    return latency.get("median") if isinstance(latency, dict) else None
