"""All-reduce from Python, by any backend: `nvrar_bench.open`."""

from __future__ import annotations

from nvrar_bench.api.all_reduce import AllReduce
from nvrar_bench.api.opening import open  # noqa: A004

__all__ = ["AllReduce", "open"]
