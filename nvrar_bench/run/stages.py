"""The stages of a run: every sweep at every number of nodes that the ranks can form.

And what all who carry them out have in common.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, TypeAlias

from nvrar_bench.backends.base import Backend
from nvrar_bench.documents.run_file import Journal
from nvrar_bench.errors import UsageError
from nvrar_bench.guard import Guard, Watch
from nvrar_bench.plan import Case
from nvrar_bench.settings.casefile import Sweep
from nvrar_bench.settings.settings import Settings
from nvrar_bench.units import format_size
from nvrar_bench.world import World

if TYPE_CHECKING:  # it loads rich, which rank 0 alone needs
    from nvrar_bench.report.progress import CaseProgress

# The kernel's own deadline comes first: it knows more about what it waits for than the guard does.
GUARD_EXTRA_S = 2.0
# Compiling and computing wait for no peer: --timeout is not about them, but nothing is unbounded.
LOCAL_WORK_LIMIT_S = 1800.0
# Points of so many cases are measured in turns; more would wait long for their next turn, and their
# results, which are written when all of a group are done, for the end.
MOST_TOGETHER = 32
# Of buffers for the all-reduces of a decode step, used in turn, unless a step has fewer.
PAIRS = 4


class NoProgress:
    """Shows nothing of how far the run is: for the ranks that do not speak for all."""

    def begin(self, what: str, cases: int = 1) -> None:
        """So many cases begin."""

    def note(self, activity: str) -> None:
        """Something else goes on, before or between cases."""

    def announce(self, activity: str) -> None:
        """Something begins that may take long."""


RunProgress: TypeAlias = "NoProgress | CaseProgress"


@dataclass(frozen=True, eq=False)
class RunPart:
    """What each part of a run works with on this rank; rank 0 keeps the journal."""

    settings: Settings
    world: World
    journal: Journal
    guard: Guard
    progress: RunProgress
    launch: int  # which one this is of several, for the order of measurement

    def watch(self, what: str) -> Watch:
        """Bound what waits for other ranks."""
        return self.guard.watch(what, self.settings.timeout + GUARD_EXTRA_S)

    def watch_work(self, what: str) -> Watch:
        """Bound what this rank does by itself."""
        return self.guard.watch(what, LOCAL_WORK_LIMIT_S)


@dataclass(frozen=True)
class Stage:
    """A sweep at one number of nodes, with what the case file leaves open filled in."""

    sweep: Sweep
    world: World
    iters: int | None  # of the case file
    warmup: int
    suffix: str  # of variants, where one run has several numbers of nodes
    pairs: int = 1  # of buffers of each kind

    def groups(self, most: int = MOST_TOGETHER) -> list[tuple[Case, ...]]:
        """Split the cases into those that are measured in turns: at most so many, in their order.

        All cases of a group have the same inputs, but for their length.
        """
        found = []
        for _, group in groupby(self.sweep.plan, lambda c: (c.dtype, c.op, c.check_mode)):
            cases = tuple(group)
            found += [cases[first : first + most] for first in range(0, len(cases), most)]
        return found


def stages(settings: Settings, world: World) -> list[Stage]:
    """All stages, in the order of the case file; --nodes overrides the file.

    UsageError: --nodes that does not fit, or a case file none of whose sweeps fits.
    """
    found = [
        _stage(settings, sweep, world, nodes)
        for sweep in settings.sweeps
        for nodes in _wanted(settings, sweep, world)
        if settings.nodes or _fits(world, nodes)
    ]
    if not found:
        raise UsageError("--case: " + "; ".join(left_out(settings, world)))
    return found


def left_out(settings: Settings, world: World) -> list[str]:
    """What of the case file does not run with this number of ranks, and why."""
    if settings.nodes:
        return []
    missing = {
        sweep.name: [n for n in _wanted(settings, sweep, world) if not _fits(world, n)]
        for sweep in settings.sweeps
    }
    found = [(name, ", ".join(map(str, nodes))) for name, nodes in missing.items() if nodes]
    return [f"sweep {name} at {nodes} nodes: {_why_not(world, nodes)}" for name, nodes in found]


def case_count(settings: Settings, world: World) -> int:
    """How many cases the run has, for progress."""
    return sum(len(stage.sweep.plan) for stage in stages(settings, world))


def _wanted(settings: Settings, sweep: Sweep, world: World) -> tuple[int, ...]:
    return (settings.nodes,) if settings.nodes else sweep.nodes or (world.nodes,)


def _fits(world: World, nodes: int) -> bool:
    """Virtual nodes split the ranks of one machine alone."""
    return nodes == world.machines or (world.machines == 1 and world.size % nodes == 0)


def _why_not(world: World, nodes: str) -> str:
    if world.machines > 1:
        return f"this job runs on {world.machines} machines, and each is a node"
    return f"{world.size} ranks cannot be split into {nodes}"


def _stage(settings: Settings, sweep: Sweep, world: World, nodes: int) -> Stage:
    return Stage(
        sweep,
        world if nodes == world.nodes else world.with_nodes(nodes),
        sweep.iters,
        settings.warmup if sweep.warmup is None else sweep.warmup,
        f"@{nodes}" if len(sweep.nodes) > 1 and not settings.nodes else "",
        PAIRS if settings.decode else 1,
    )


def refusal(settings: Settings, backend: Backend, case: Case) -> str | None:
    """Why `backend` does not run `case`, or None; the same on every rank."""
    reason = backend.unsupported(case)
    if reason is None and case.check_mode == "wrap" and not (backend.wraps or settings.wrap_asked):
        return "it does not define integer overflow; --check-mode wrap tests it all the same"
    return reason


def describe_group(cases: Sequence[Case], stage: Stage) -> str:
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
