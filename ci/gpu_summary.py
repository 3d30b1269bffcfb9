"""What a run of ci/gpu.sh has found: steps, correctness, and the times beside their targets.

    python ci/gpu_summary.py OUT

Reads commands.tsv, the run records and floor.json in OUT; what is missing is "not run". Exit code
0: every command went well and no result is wrong. 1: something failed or is wrong. 2: nothing is,
but something did not run. A target that is missed changes no exit code.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from gpu_lab import lab
from gpu_model import SLICES
from gpu_nccltests import beside_nccltests
from gpu_run import KINDS, NOT_RUN, Medians, Run, fastest, medians, ratio, sizes

from nvrar_bench.documents.record import RunRecord
from nvrar_bench.units import format_size

FLOOR_TARGETS = {128 << 10: 1.5, 2 << 20: 2.0}  # at most so many times the floor
_LOOPBACK = {
    "queued": "sweep-loopback", "graph": "sweep-loopback-graph", "cold": "sweep-loopback-cold"
}  # fmt: skip
NCCL_TARGET = 1.9  # at least so many times as fast as NCCL
_GROUPS = {  # of runs, by the beginnings of their names
    "loopback": ("check-types", "check-edges", "check-windows", "check-wrap", "sweep-loopback",
                 "sweep-blocks", "tune-loopback"),
    "sanitizer": ("check-memcheck", "check-racecheck"),
    "NVSHMEM": ("check-nvshmem", "sweep-nvshmem"),
    "NCCL, NVSHMEM and MPI": ("check-nccl", "sweep-nccl"),
    "CPU": ("sweep-cpu",),
}  # fmt: skip


def at_most(value: float | None, target: float) -> str:
    """The verdict on a value that should not exceed its target."""
    if value is None:
        return NOT_RUN
    return "met" if value <= target else f"missed by {value / target - 1:.0%}"


def at_least(value: float | None, target: float) -> str:
    """The verdict on a value that should reach its target."""
    if value is None:
        return NOT_RUN
    return "met" if value >= target else f"missed by {1 - value / target:.0%}"


# ---- the parts of the summary


def steps(run: Run) -> list[str]:
    """One line per step; one more for each command that is not ok."""
    lines = []
    for step in dict.fromkeys(command.step for command in run.commands):
        mine = [command for command in run.commands if command.step == step]
        good = sum(command.outcome == "ok" for command in mine)
        seconds = sum(int(command.seconds) for command in mine)
        alone = len(mine) == 1 and mine[0].name == "-"
        lines.append(f"{step}: {mine[0].outcome if alone else f'{good} ok, {seconds} s in all'}")
        lines += [f"    {c.name}: {c.outcome}" for c in mine if c.outcome != "ok" and not alone]
    return lines or [NOT_RUN]


def correctness(run: Run) -> list[str]:
    """Cases, wrong ones and what was skipped, by group of runs and backend."""
    lines = []
    for group, beginnings in _GROUPS.items():
        records = run.named(*beginnings)
        results = [result for record in records.values() for result in record.results]
        if not results:
            lines.append(f"{group}: {NOT_RUN}")
            continue
        counted = Counter((result.backend, result.check.status) for result in results)
        for backend in dict.fromkeys(result.backend for result in results):
            lines.append(
                f"{group}: {backend}: {counted[backend, 'passed']} cases passed, "
                f"{counted[backend, 'failed']} wrong, {counted[backend, 'skipped']} not checked"
            )
        lines += _skipped(records.values())
    return lines + [f"cannot be read: {text}" for text in run.damaged]


def _skipped(records: Iterable[RunRecord]) -> list[str]:
    """Shapes that the ranks do not have are left out: no case file fits all numbers of ranks."""
    reasons = Counter(
        f"{skipped.backend}: {skipped.reason}"
        for record in records
        for skipped in record.skipped
        if "cannot be split" not in skipped.reason
    )
    return [f"    skipped {reason} ({count} runs)" for reason, count in reasons.items()]


def above_floor(run: Run) -> list[str]:
    """Loopback over the floor, by protocol: calls that are queued, and those of a graph."""
    record = run.records.get("sweep-loopback")
    found = {kind: _medians_of(run, name) for kind, name in _LOOPBACK.items()}
    lines = []
    for size in sizes(found["queued"]) if record else []:
        for protocol in SLICES:
            key = ("nvrar", protocol, size)
            parts = [f"{format_size(size):>5} {protocol:6}"]
            for kind in KINDS:
                floor = run.floor_us(record, protocol, size, kind)
                parts.append(f"{kind} {_over_floor(found[kind].get(key), floor)}")
            lines.append("  ".join([*parts, f"cold {_us(found['cold'].get(key))} us"]))
    return [*lines, *(_warnings(record) if record else ()), *_floor_verdicts(run, record, found)]


def _over_floor(us: float | None, floor: float | None) -> str:
    return f"{_us(us)} us, floor {_us(floor)} us, {_times(us, floor)}"


def _floor_verdicts(
    run: Run, record: RunRecord | None, found: Mapping[str, Medians]
) -> Iterator[str]:
    """On the fastest and the lowest floor: who moves more bytes has no easier target."""
    for kind in KINDS:
        for size, target in FLOOR_TARGETS.items():
            floors = (run.floor_us(record, protocol, size, kind) for protocol in SLICES)
            lowest = min((one for one in floors if one), default=None)
            verdict = at_most(ratio(fastest(found[kind], "nvrar", size), lowest), target)
            yield f"{format_size(size)}, {kind}: at most {target:g}x the floor: {verdict}"


def beside_nccl(run: Run) -> list[str]:
    """NVRAR on NVSHMEM, NCCL and MPI, by number of ranks."""
    lines = []
    for name, record in run.named("sweep-nccl").items():
        found = medians(record.results)
        lines.append(f"{record.topology.ranks} ranks ({name})")
        for size in sizes(found):
            times = [fastest(found, backend, size) for backend in ("nccl", "nvrar", "mpi")]
            speed_up = ratio(times[0], times[1])
            lines.append(
                f"{format_size(size):>5} nccl {_us(times[0])} us  nvrar {_us(times[1])} us  "
                f"mpi {_us(times[2])} us  {_times(times[0], times[1])}  "
                f"at least {NCCL_TARGET:g}x: {at_least(speed_up, NCCL_TARGET)}"
            )
        lines += _warnings(record)
    return lines or [f"at least {NCCL_TARGET:g}x: {NOT_RUN}"]


def decode_steps(run: Run) -> list[str]:
    """The median of every step, what its all-reduces add, and what the check says."""
    return [
        f"{record.step.tensor_parallel} ranks ({name}) {record.model.name}, batch {batch.batch}  "
        f"{one.backend} {one.variant} {_us(one.step.latency_us.median)} us  all-reduces "
        f"{_us(one.all_reduce_us.value if one.all_reduce_us else None)} us  {one.check.status}"
        for name, record in run.decodes.items()
        for batch in record.results
        for one in batch.steps
    ] or [NOT_RUN]


def plain(run: Run, beginning: str) -> list[str]:
    """Medians of every backend and variant, by number of ranks."""
    lines = []
    for record in run.named(beginning).values():
        found = medians(record.results)
        for size in sizes(found):
            row = [f"{b} {v} {_us(us)} us" for (b, v, s), us in found.items() if s == size]
            lines.append(f"{_ranks(record)} {format_size(size):>5}  {'  '.join(row)}")
        lines += _warnings(record)
    return lines or [NOT_RUN]


def _ranks(record: RunRecord) -> str:
    """How many there are, and how those of other nodes are reached."""
    shape, path = record.topology, record.environment.get("nvrar_between_nodes")
    return f"{shape.ranks} ranks" + (f" in {shape.nodes} nodes, by {path}," if path else "")


def best_blocks(run: Run) -> list[str]:
    """The number of blocks with the smallest median, by protocol and size."""
    times: dict[tuple[str, int], dict[int, float]] = {}
    for record in run.named("sweep-blocks").values():
        for (_, variant, size), us in medians(record.results).items():
            times.setdefault((variant, size), {})[int(record.settings["blocks"])] = us
    return [
        f"{format_size(size):>5} {variant:6} best {min(row, key=row.__getitem__):2} blocks  ("
        + ", ".join(f"{blocks}: {_us(us).strip()} us" for blocks, us in sorted(row.items())) + ")"
        for (variant, size), row in sorted(times.items(), key=lambda item: (item[0][1], item[0]))
    ] or [NOT_RUN]  # fmt: skip


def _medians_of(run: Run, name: str) -> Medians:
    record = run.records.get(name)
    return {} if record is None else medians(record.results)


def _warnings(record: RunRecord) -> list[str]:
    """How a run ended, if not well, and its warnings: one of those that differ in numbers alone."""
    status = record.run.status
    ended = [] if status == "complete" else [f"the run is {status}: this is what it has done"]
    alike: dict[str, str] = {}
    for text in (text for result in record.results for text in result.warnings):
        alike.setdefault(re.sub(r"\d+", "", text), text)
    return [f"    {text}" for text in (*ended, *alike.values())]


def _times(above: float | None, below: float | None) -> str:
    found = ratio(above, below)
    return "    -" if found is None else f"{found:4.2f}x"


def _us(value: float | None) -> str:
    return "       -" if value is None else f"{value:8.2f}"


def machine(run: Run) -> list[str]:
    """What it ran on: each fact from the first record that has it; no run uses all libraries."""
    names = (
        "gpu",
        "gpu_arch",
        "nvidia_driver",
        "cuda_driver",
        "nvshmem",
        "nccl",
        "mpi_library",
        "cpu",
    )
    facts = [record.environment for record in run.records.values()]
    known = {name: next((f[name] for f in facts if f.get(name)), None) for name in names}
    return [f"{name}: {value}" for name, value in known.items() if value] or ["unknown"]


def text(run: Run) -> str:
    """The summary."""
    parts = {
        "machine": machine(run),
        "steps": steps(run),
        "correctness": correctness(run),
        "loopback over the floor, float32": above_floor(run),
        "NVRAR beside NCCL and MPI": beside_nccl(run),
        "NCCL beside nccl-tests": beside_nccltests(run.folder, run.records),
        "NVSHMEM": plain(run, "sweep-nvshmem"),
        "blocks": best_blocks(run),
        "decode steps": decode_steps(run),
        "CPU": plain(run, "sweep-cpu"),
        "lab": lab(run),
    }
    lines = [line for title, part in parts.items() for line in (f"# {title}", *part, "")]
    ends = {0: "all ran and went well", 1: "SOMETHING FAILED", 2: "SOMETHING DID NOT RUN"}
    return "\n".join([*lines, ends[run.exit_code]])


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python ci/gpu_summary.py OUT", file=sys.stderr)
        return 1
    run = Run.read(Path(arguments[0]))
    print(text(run))
    return run.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
