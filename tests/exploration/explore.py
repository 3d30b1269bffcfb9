"""The kernel under orders of a scheduler's choice: jobs as text, explorers, and replays.

    python tests/exploration/explore.py                          # all jobs, for some seconds each
    python tests/exploration/explore.py --job JOB --seconds 60   # one job
    python tests/exploration/explore.py --job JOB --settings 0,0,1,1 --schedule 17:2,45:1

A job is `RANKSxNODES FABRIC [epoch=N] [radix=N] [absent=RANK] | CALL | CALL ...`, and a call is
`PROTOCOL:COUNT:BLOCKSxTHREADS:CHUNK:direct|staged:out|in`. FABRIC is `mapped` or `network`, where
puts to other nodes are on their way for as long as the scheduler likes. The last form is what a
failure prints: settings and deviations from the default schedule.
"""

from __future__ import annotations

import argparse
import ctypes
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from nvrar_bench.backends.nvrar.arguments import CArguments, CLayout
from nvrar_bench.backends.nvrar.backend import FLAG_SPAN
from nvrar_bench.backends.nvrar.layout import Layout, plan_layout
from nvrar_bench.backends.nvrar.schedule import Schedule, plan_steps
from nvrar_bench.toolchain import host

U64 = ctypes.c_uint64
PROTOCOLS = ("signal", "packet")
WINDOW_BYTES = 128
CHUNK_BYTES = 16  # the smallest
MAX_BLOCKS = 4
ELEMENT_BYTES = 4
MAX_DEVIATIONS = 4096


class CCall(ctypes.Structure):
    """struct Call of kernels/fabric/checking.cuh."""

    _fields_ = [("arguments", CArguments), ("protocol", U64), ("threads", U64), ("in_place", U64),
                ("starts_over", U64)]  # fmt: skip


class CJob(ctypes.Structure):
    """struct Job of kernels/fabric/checking.cuh."""

    _fields_ = [
        ("calls", ctypes.POINTER(CCall)),
        ("call_count", U64),
        ("ranks", U64),
        ("ranks_per_node", U64),
        ("nodes", U64),
        ("fibers_per_rank", U64),
        ("buffer_bytes", U64),
        ("staging_bytes", U64 * 2),
        ("first_epoch", U64),
        ("epoch_slots", U64),
        ("absent", U64),
    ]


class CSettings(ctypes.Structure):
    """struct Settings of kernels/fabric/checking_explorer.cuh."""

    _fields_ = [("late_stores", U64), ("fine", U64), ("pieces_at_once", U64), ("seed", U64)]


class CDeviation(ctypes.Structure):
    """struct Deviation of kernels/fabric/checking_engine.cuh."""

    _fields_ = [("step", U64), ("choice", U64)]


class COutcome(ctypes.Structure):
    """struct Outcome of kernels/fabric/checking_explorer.cuh."""

    _fields_ = [
        ("schedules", U64),
        ("steps", U64),
        ("longest", U64),
        ("is_complete", U64),
        ("deviation_count", U64),
        ("deviations", CDeviation * MAX_DEVIATIONS),
        ("settings", CSettings),
        ("failure", ctypes.c_char * 2000),
    ]


@dataclass(frozen=True)
class Call:
    """One all-reduce of all ranks."""

    protocol: str
    count: int
    blocks: int = 1
    threads: int = 1
    chunk_bytes: int = CHUNK_BYTES
    buffers: str = "direct"
    placement: str = "out"

    @property
    def windows(self) -> int:
        """Epochs that the backend reserves for it."""
        return -(-self.count * ELEMENT_BYTES // WINDOW_BYTES)

    @classmethod
    def parse(cls, text: str) -> Call:
        """Read the form that `str` gives."""
        protocol, count, shape, chunk, buffers, placement = text.strip().split(":")
        blocks, threads = map(int, shape.split("x"))
        return cls(protocol, int(count), blocks, threads, int(chunk), buffers, placement)

    def __str__(self) -> str:
        return (
            f"{self.protocol}:{self.count}:{self.blocks}x{self.threads}:{self.chunk_bytes}:"
            f"{self.buffers}:{self.placement}"
        )


@dataclass(frozen=True)
class Job:
    """Ranks on nodes, and the calls that they make one after another."""

    ranks: int
    nodes: int
    fabric: str
    calls: tuple[Call, ...]
    epoch: int = 1
    radix: int = 2
    absent: int = -1

    @classmethod
    def parse(cls, text: str) -> Job:
        """Read the form that `str` gives."""
        head, *calls = text.split("|")
        shape, fabric, *options = head.split()
        ranks, nodes = map(int, shape.split("x"))
        values = {name: int(value) for name, value in (option.split("=") for option in options)}
        return cls(ranks, nodes, fabric, tuple(map(Call.parse, calls)), **values)

    def __str__(self) -> str:
        head = f"{self.ranks}x{self.nodes} {self.fabric}"
        for name, default in (("epoch", 1), ("radix", 2), ("absent", -1)):
            if getattr(self, name) != default:
                head += f" {name}={getattr(self, name)}"
        return " | ".join([head, *map(str, self.calls)])


@dataclass(frozen=True)
class Found:
    """What an exploration came to; `failure` is empty where all was well."""

    schedules: int
    steps: int
    longest: int
    is_complete: bool
    failure: str = ""
    command: str = ""


@dataclass(frozen=True)
class Checker:
    """The kernel with the checking fabric: a source for the host's compiler."""

    fabric: str

    @property
    def name(self) -> str:
        """A readable name."""
        return f"checking-{self.fabric}"

    @property
    def source(self) -> str:
        """C++ that instantiates both protocols."""
        define = "#define NVRAR_CHECKING_NETWORK\n" if self.fabric == "network" else ""
        return f'{define}#include "fabric/checking_explorer.cuh"\nNVRAR_CHECK(float, Sum)\n'


@cache
def library(fabric: str) -> ctypes.CDLL:
    """Build and load the checker."""
    loaded = host.load(host.build(Checker(fabric)))
    for function in ("nvrar_open", "nvrar_replay", "nvrar_bounded", "nvrar_random"):
        getattr(loaded, function).restype = None
    return loaded


class Exploration:
    """A job that is ready to run, again and again."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._library = library(job.fabric)
        schedule = plan_steps(job.nodes, job.radix)
        per_node = job.ranks // job.nodes
        layouts = {
            protocol: plan_layout(schedule, per_node, protocol, WINDOW_BYTES, CHUNK_BYTES,
                                  MAX_BLOCKS, job.fabric == "mapped")
            for protocol in PROTOCOLS
        }  # fmt: skip
        calls = (CCall * len(job.calls))(*_calls(job, schedule, layouts))
        self._library.nvrar_open(
            ctypes.byref(
                CJob(
                    calls=calls,
                    call_count=len(job.calls),
                    ranks=job.ranks,
                    ranks_per_node=per_node,
                    nodes=job.nodes,
                    fibers_per_rank=max(call.blocks * call.threads for call in job.calls),
                    buffer_bytes=max(call.count for call in job.calls) * ELEMENT_BYTES,
                    staging_bytes=(U64 * 2)(*(layouts[p].nbytes for p in PROTOCOLS)),
                    first_epoch=job.epoch,
                    epoch_slots=MAX_BLOCKS,
                    absent=job.absent + 1,
                )
            )
        )
        self._calls = calls

    def bounded(self, bound: int, seconds: float, *settings: int) -> Found:
        """Run all schedules of up to `bound` deviations."""
        outcome = COutcome()
        self._library.nvrar_bounded(
            ctypes.byref(CSettings(*settings)), U64(bound), ctypes.c_double(seconds),
            ctypes.byref(outcome),
        )  # fmt: skip
        return self._found(outcome)

    def random(self, first_seed: int, count: int, seconds: float) -> Found:
        """Run a schedule for each seed."""
        outcome = COutcome()
        self._library.nvrar_random(
            U64(first_seed), U64(count), ctypes.c_double(seconds), ctypes.byref(outcome)
        )
        return self._found(outcome)

    def replay(self, settings: list[int], deviations: list[tuple[int, int]]) -> Found:
        """Run one schedule."""
        outcome = COutcome()
        schedule = (CDeviation * len(deviations))(*(CDeviation(*pair) for pair in deviations))
        self._library.nvrar_replay(
            ctypes.byref(CSettings(*settings)), schedule, U64(len(deviations)),
            ctypes.byref(outcome),
        )  # fmt: skip
        return self._found(outcome)

    def _found(self, outcome: COutcome) -> Found:
        failure = outcome.failure.decode()
        command = ""
        if failure:
            settings = ",".join(str(getattr(outcome.settings, n)) for n, _ in CSettings._fields_)
            taken = outcome.deviations[: outcome.deviation_count]
            schedule = ",".join(f"{deviation.step}:{deviation.choice}" for deviation in taken)
            command = (
                f"python tests/exploration/explore.py --job '{self.job}' "
                f"--settings {settings} --schedule '{schedule}'"
            )
        return Found(
            outcome.schedules, outcome.steps, outcome.longest, bool(outcome.is_complete),
            failure, command,
        )  # fmt: skip


def _calls(job: Job, schedule: Schedule, layouts: dict[str, Layout]) -> list[CCall]:
    epoch, calls = job.epoch, []
    for call in job.calls:
        starts_over = 0
        if (epoch - 1) % FLAG_SPAN + call.windows >= FLAG_SPAN:
            starts_over = epoch = -(-epoch // FLAG_SPAN) * FLAG_SPAN + 1
        epoch += call.windows
        calls.append(_call(job, call, schedule, layouts[call.protocol], starts_over))
    return calls


def _call(job: Job, call: Call, schedule: Schedule, layout: Layout, starts_over: int) -> CCall:
    arguments = CArguments(
        count=call.count,
        epochs_taken=call.windows,
        blocks=call.blocks,
        ranks_per_node=job.ranks // job.nodes,
        staged=call.buffers == "staged",
        window_bytes=WINDOW_BYTES,
        chunk_bytes=call.chunk_bytes,
        spin=1 if job.absent >= 0 else 1 << 62,
        timeout_ns=2_000_000_000,
        layout=CLayout.of(layout),
    )
    arguments.set_schedule(schedule)
    return CCall(
        arguments, PROTOCOLS.index(call.protocol), call.threads, call.placement == "in", starts_over
    )


def explore(job: Job, seconds: float, bound: int = 2, first_seed: int = 0) -> list[Found]:
    """Half of the time all schedules with few deviations, half of it random ones."""
    exploration = Exploration(job)
    found = [exploration.random(first_seed, 1 << 40, seconds / 4)]
    for late_stores in (0, 1):
        if not found[-1].failure:
            found.append(exploration.bounded(bound, seconds / 4, late_stores, 0, 4, 1))
    if not found[-1].failure:
        found.append(exploration.random(first_seed + (1 << 40), 1 << 40, seconds / 4))
    return found


def _quick(job: Job, seconds: float, seed: int) -> list[Found]:
    return [Exploration(job).random(seed, 1 << 40, seconds)]


def hunt(jobs: list[Job], seconds: float) -> tuple[Job, Found] | None:
    """Explore all jobs in turn, each time longer, until one fails or the time is up."""
    until, share, seed = time.monotonic() + seconds, 0.1, 0
    while time.monotonic() < until:
        for job in jobs:
            found = _quick(job, share, seed) if seed == 0 else explore(job, share, 2, seed)
            if found[-1].failure:
                return job, found[-1]
            if time.monotonic() > until:
                return None
        share, seed = share * 3, seed + (1 << 32)
    return None


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Explore schedules of the NVRAR kernel.")
    parser.add_argument("--job", action="append", help="default: all of jobs.py")
    parser.add_argument("--seconds", type=float, default=4.0, help="for each job")
    parser.add_argument("--bound", type=int, default=2, help="deviations of the exhaustive part")
    parser.add_argument("--seed", type=int, default=0, help="the first one of the random part")
    parser.add_argument("--share", default="0/1", help="I/N: of all jobs every Nth, from I on")
    parser.add_argument("--hunt", action="store_true", help="all jobs in turn; --seconds in all")
    parser.add_argument("--settings", help="of a schedule to replay")
    parser.add_argument("--schedule", help="deviations to replay")
    return parser.parse_args()


def main() -> int:
    options = parse()
    if options.schedule is not None:
        return replay(options)
    from jobs import JOBS

    jobs = [Job.parse(text) for text in options.job] if options.job else JOBS
    first, every = map(int, options.share.split("/"))
    jobs = jobs[first::every]
    if options.hunt:
        caught = hunt(jobs, options.seconds)
        if caught:
            print(f"{caught[1].failure}\n{caught[1].command}", flush=True)
        return 1 if caught else 0
    failed = 0
    for job in jobs:
        found = explore(job, options.seconds, options.bound, options.seed)
        say(job, found)
        failed += bool(found[-1].failure)
    return 1 if failed else 0


def replay(options: argparse.Namespace) -> int:
    (text,) = options.job
    settings = [int(value) for value in options.settings.split(",")]
    pairs = [pair.split(":") for pair in options.schedule.split(",") if pair]
    found = Exploration(Job.parse(text)).replay(settings, [(int(s), int(c)) for s, c in pairs])
    print(found.failure or f"all was well in {found.steps} choices")
    return 1 if found.failure else 0


def say(job: Job, found: list[Found]) -> None:
    schedules = sum(part.schedules for part in found)
    longest = max(part.longest for part in found)
    complete = "" if all(part.is_complete for part in found[1:3]) else ", bound not reached"
    print(f"{job}: {schedules} schedules of up to {longest} choices{complete}", flush=True)
    if found[-1].failure:
        print(f"  {found[-1].failure}\n  {found[-1].command}", flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main())
