"""All-reduce micro-benchmarks: NCCL, MPI and NVRAR side by side.

`open` gives a backend to call all-reduce from Python; everything else is the command line,
`nvrar-bench --help`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nvrar_bench.api import AllReduce, open  # noqa: A004

__version__ = "0.1.0"
__all__ = ["AllReduce", "__version__", "open"]


def __getattr__(name: str) -> Any:
    # The command line imports this package too, and must not wait for NumPy and MPI to print help.
    if name in ("AllReduce", "open"):
        from nvrar_bench import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
