"""Cases in a few words, for progress and messages."""

from __future__ import annotations

from collections.abc import Sequence

from nvrar_bench.plan import Case
from nvrar_bench.run.stages import Stage
from nvrar_bench.units import format_size


def describe_block(cases: Sequence[Case], stage: Stage) -> str:
    """Describe several cases."""
    if len(cases) == 1:
        return describe(cases[0], stage)
    sizes = [case.size_bytes for case in cases]
    return (
        f"{stage.sweep.name}{stage.suffix} {cases[0].dtype} {cases[0].op}: {len(cases)} cases, "
        f"{format_size(min(sizes))} to {format_size(max(sizes))}"
    )


def describe(case: Case, stage: Stage) -> str:
    """Describe a case."""
    return (
        f"{stage.sweep.name}{stage.suffix} {case.dtype} {case.op} {case.size_bytes} B "
        f"{case.placement} {case.buffers}"
    )
