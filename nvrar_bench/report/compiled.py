"""What `compile` built: a table for people, and JSON for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import Any

from rich.console import Console

from nvrar_bench import __version__
from nvrar_bench.documents.files import to_text
from nvrar_bench.report.grid import Grid, plain_columns, show
from nvrar_bench.toolchain.product import Delivery

FORMAT = "nvrar-bench.compile"
FORMAT_VERSION = "1.3"

_CACHED = "cached"
_KEYS = (  # null where a source has none
    *("fabric", "protocol", "dtype", "op", "launch_class", "exchange", "ranks_per_node", "radix"),
)
_TITLES = (
    *("arch", "kernel", "registers", "spill stores", "spill loads", "stack", "shared", "constant"),
    *("cubin", "seconds"),
)


Versions = Mapping[str, str]  # of the compiler's parts, by name


def encode(compiler: Versions, kernels: Sequence[Delivery]) -> str:
    """Write what was built, by which compiler, as JSON text; sizes are bytes."""
    document = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "version": __version__,
        "compiler": compiler,
        "kernels": [_as_json(kernel) for kernel in kernels],
    }
    return to_text(document, indent=1) + "\n"


def write_table(compiler: Versions, kernels: Sequence[Delivery], console: Console) -> None:
    """Write one row per kernel; bytes, but for registers and seconds."""
    rows = tuple(_cells(one) for one in kernels)
    made_by = ", ".join(f"{name} {number}" for name, number in compiler.items())
    spilling = sum(1 for one in kernels if one.usage.spill_stores or one.usage.spill_loads)
    cached = sum(one.cached for one in kernels)
    title = f"{len(rows)} kernels, {cached} of them cached, {spilling} with spills; bytes"
    heading = [f"nvrar-bench {__version__}", f"compiler: {made_by}"]
    show(console, heading, [[Grid(title, plain_columns(_TITLES), rows)]], [])


def _as_json(one: Delivery) -> dict[str, Any]:
    kernel, usage = one.order.kernel, one.usage
    return {
        "arch": one.order.arch,
        "name": kernel.name,
        **{name: getattr(kernel, name, None) for name in _KEYS},
        "registers": usage.registers,
        "spill_store_bytes": usage.spill_stores,
        "spill_load_bytes": usage.spill_loads,
        "stack_bytes": usage.stack,
        "shared_bytes": usage.shared,
        "constant_bytes": usage.constant,
        "cubin_bytes": usage.cubin,
        "seconds": round(one.seconds, 3),
        "cached": one.cached,
    }


def _cells(one: Delivery) -> tuple[str, ...]:
    seconds = _CACHED if one.cached else f"{one.seconds:.1f}"
    return one.order.arch, one.order.kernel.name, *map(str, astuple(one.usage)), seconds
