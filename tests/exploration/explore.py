"""The kernel under orders of a scheduler's choice: jobs as text, explorers, and replays.

    python tests/exploration/explore.py                          # all jobs, for some seconds each
    python tests/exploration/explore.py --job JOB --seconds 60   # one job
    python tests/exploration/explore.py --job JOB --settings 0,0,1,1 --schedule 17:2,45:1

A job is `RANKSxNODES FABRIC [OPTION=NUMBER ...] | CALL | ...`, with the options epoch, radix,
absent (a rank), window (bytes), lazy (1) and halving (1: of the exchange); a call is
`PROTOCOL:COUNT:BLOCKSxTHREADS:CHUNK:direct|staged:PLACEMENT[+SHIFT][:DTYPE:OP]`. FABRIC is
`mapped`; or `network`, where puts to other nodes are on their way for as long as the scheduler
likes; or `messages`, where nodes are machines and a put to another one is a message of MPI, which
moves when the scheduler likes, or if `lazy` only while both of its ranks call MPI. A rank has two
buffers: `out` goes from the first to the second, `back` the other way, `in` and `over` stay in the
first and the second; messages start SHIFT elements behind a buffer's start.
The last form is what a failure prints: settings and deviations from the default schedule.
"""

from __future__ import annotations

import argparse
import ctypes
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

from nvrar_bench.backends.nvrar.backend import FLAG_SPAN
from nvrar_bench.backends.nvrar.layout import (
    Layout,
    Schedule,
    place_fields,
    plan_layout,
    plan_steps,
    window_fields,
)
from nvrar_bench.datatypes import DTYPES, OPS
from nvrar_bench.toolchain import host
from nvrar_bench.toolchain.kernel import EXCHANGES, sources_digest
from nvrar_bench.toolchain.structs import CArguments

U64 = ctypes.c_uint64
CHECKER = Path(__file__).resolve().parent / "checker"
PROTOCOLS = ("signal", "packet")
WINDOW_BYTES = 128
CHUNK_BYTES = 16  # the smallest
MAX_BLOCKS = 4
PLACEMENTS = {"out": (0, 1), "in": (0, 0), "back": (1, 0), "over": (1, 1)}  # from, to
# Element types of all sizes; float32's is the checker that is built where others do not occur.
ROWS = (
    ("float32", "sum"),
    ("int8", "min"),
    ("bfloat16", "avg"),
    ("float64", "avg"),
)
MAX_DEVIATIONS = 4096
HUNTING = "-O0"  # a broken kernel is compiled for a few seconds' use


class CCall(ctypes.Structure):
    """struct Call of checker/job.cuh."""

    _fields_ = [("arguments", CArguments), ("protocol", U64), ("row", U64), ("threads", U64),
                ("from_", U64), ("to", U64), ("shift", U64), ("starts_over", U64)]  # fmt: skip


class CJob(ctypes.Structure):
    """struct Job of checker/job.cuh."""

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
        ("is_lazy", U64),
        ("absent", U64),
    ]


class CSettings(ctypes.Structure):
    """struct Settings of checker/explorer.cuh."""

    _fields_ = [("late_stores", U64), ("fine", U64), ("pieces_at_once", U64), ("seed", U64)]


class CDeviation(ctypes.Structure):
    """struct Deviation of checker/engine.cuh."""

    _fields_ = [("step", U64), ("choice", U64)]


class COutcome(ctypes.Structure):
    """struct Outcome of checker/explorer.cuh."""

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
    shift: int = 0
    row: tuple[str, str] = ROWS[0]

    @property
    def element_bytes(self) -> int:
        return DTYPES[self.row[0]].itemsize

    @property
    def nbytes(self) -> int:
        """Of the message."""
        return self.count * self.element_bytes

    @classmethod
    def parse(cls, text: str) -> Call:
        """Read the form that `str` gives."""
        protocol, count, shape, chunk, buffers, place, *row = text.strip().split(":")
        blocks, threads = map(int, shape.split("x"))
        placement, _, shift = place.partition("+")
        return cls(
            protocol, int(count), blocks, threads, int(chunk), buffers, placement,
            int(shift or 0), (row[0], row[1]) if row else ROWS[0],
        )  # fmt: skip

    def __str__(self) -> str:
        text = (
            f"{self.protocol}:{self.count}:{self.blocks}x{self.threads}:{self.chunk_bytes}:"
            f"{self.buffers}:{self.placement}"
        )
        text += f"+{self.shift}" if self.shift else ""
        return text if self.row == ROWS[0] else f"{text}:{self.row[0]}:{self.row[1]}"


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
    window: int = WINDOW_BYTES
    lazy: int = 0
    halving: int = 0

    def windows(self, call: Call) -> int:
        """Epochs that the backend reserves for `call`."""
        return -(-call.nbytes // self.window)

    @property
    def rows(self) -> tuple[tuple[str, str], ...]:
        """What its checker knows: one row, or all."""
        return ROWS[:1] if all(call.row == ROWS[0] for call in self.calls) else ROWS

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
        for option in fields(self)[4:]:
            if getattr(self, option.name) != option.default:
                head += f" {option.name}={getattr(self, option.name)}"
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
    """The kernel on fibers, with one of their fabrics: a source for the host's compiler."""

    fabric: str
    rows: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """A readable name."""
        return f"checking-{self.fabric}-{len(self.rows)}"

    @property
    def source(self) -> str:
        """C++ that instantiates both protocols."""
        define = f"#define NVRAR_CHECKING_{self.fabric.upper()}\n"
        return (
            f"// {sources_digest(CHECKER)}\n"  # the cache knows a source by its text alone
            f'{define}#define NVRAR_PLATFORM "{CHECKER}/platform.cuh"\n'
            f'#include "{CHECKER}/explorer.cuh"\nNVRAR_CHECK({row_list(self.rows)})\n'
        )


def row_list(rows: Sequence[tuple[str, str]]) -> str:
    """Return `rows` as C++."""
    names = [(DTYPES[dtype].cxx, OPS[op].cxx) for dtype, op in rows]
    return ", ".join(f"nvrar::checking::row<{dtype}, nvrar::{op}>()" for dtype, op in names)


@cache
def library(fabric: str, rows: tuple[tuple[str, str], ...], level: str) -> ctypes.CDLL:
    """Build and load the checker."""
    loaded = host.load(host.build(Checker(fabric, rows), level))
    for function in ("nvrar_open", "nvrar_replay", "nvrar_bounded", "nvrar_random"):
        getattr(loaded, function).restype = None
    return loaded


class Exploration:
    """A job that is ready to run, again and again."""

    def __init__(self, job: Job, level: str = "-O2") -> None:
        self.job = job
        self._library = library(job.fabric, job.rows, level)
        self._job = c_job(job, job.rows)
        self._library.nvrar_open(ctypes.byref(self._job))

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


def c_job(job: Job, rows: Sequence[tuple[str, str]]) -> CJob:
    """Say what the kernel is told, if it was built for `rows`."""
    schedule = plan_steps(job.nodes, job.radix, EXCHANGES[job.halving])
    per_node = job.ranks // job.nodes
    layouts = {
        protocol: plan_layout(schedule, per_node, protocol, job.window, CHUNK_BYTES, MAX_BLOCKS,
                              job.fabric == "mapped")
        for protocol in PROTOCOLS
    }  # fmt: skip
    return CJob(
        calls=(CCall * len(job.calls))(*_calls(job, rows, schedule, layouts)),
        call_count=len(job.calls),
        ranks=job.ranks,
        ranks_per_node=per_node,
        nodes=job.nodes,
        fibers_per_rank=max(call.blocks * call.threads for call in job.calls),
        buffer_bytes=max(call.nbytes + call.shift * call.element_bytes for call in job.calls),
        staging_bytes=(U64 * 2)(*(layouts[p].nbytes for p in PROTOCOLS)),
        first_epoch=job.epoch,
        epoch_slots=MAX_BLOCKS,
        is_lazy=job.lazy,
        absent=job.absent + 1,
    )


def _calls(
    job: Job, rows: Sequence[tuple[str, str]], schedule: Schedule, layouts: dict[str, Layout]
) -> list[CCall]:
    epoch, calls = job.epoch, []
    for call in job.calls:
        starts_over = 0
        if (epoch - 1) % FLAG_SPAN + job.windows(call) >= FLAG_SPAN:
            starts_over = epoch = -(-epoch // FLAG_SPAN) * FLAG_SPAN + 1
        epoch += job.windows(call)
        arguments = _arguments(job, call, layouts[call.protocol], schedule)
        calls.append(
            CCall(
                arguments, PROTOCOLS.index(call.protocol), rows.index(call.row), call.threads,
                *PLACEMENTS[call.placement], call.shift * call.element_bytes, starts_over,
            )
        )  # fmt: skip
    return calls


def _arguments(job: Job, call: Call, layout: Layout, schedule: Schedule) -> CArguments:
    """What is the same on all ranks; the checker says of each where it stands."""
    is_unbounded = (job.nodes, call.protocol, call.buffers) == (1, "signal", "direct")
    window, per_node = call.nbytes if is_unbounded else job.window, job.ranks // job.nodes
    return CArguments(
        count=call.count,
        epochs_taken=job.windows(call),
        blocks=call.blocks,
        staged=call.buffers == "staged",
        chunk_bytes=call.chunk_bytes,
        spin=_spin(job),
        timeout_ns=2_000_000_000,
        layout=layout,
        **place_fields(0, per_node, schedule),
        **(window_fields(call.nbytes, window, per_node) if call.nbytes else {}),
    )


def _spin(job: Job) -> int:
    """Polls before a wait looks at the clock; from then on each of them makes MPI progress."""
    if job.fabric == "messages":
        return 0
    return 1 if job.absent >= 0 else 1 << 62


def explore(
    job: Job, seconds: float, bound: int = 2, first_seed: int = 0, level: str = "-O2"
) -> list[Found]:
    """Half of the time all schedules with few deviations, half of it random ones."""
    exploration = Exploration(job, level)
    found = [exploration.random(first_seed, 1 << 40, seconds / 4)]
    for late_stores in (0, 1):
        if not found[-1].failure:
            found.append(exploration.bounded(bound, seconds / 4, late_stores, 0, 4, 1))
    if not found[-1].failure:
        found.append(exploration.random(first_seed + (1 << 40), 1 << 40, seconds / 4))
    return found


def hunt(jobs: list[Job], seconds: float) -> tuple[Job, Found] | None:
    """Explore all jobs in turn, each time longer, until one fails or the time is up.

    A checker of all types takes long to compile: its jobs come in the third turn.
    """
    share, seed = 0.05, 0
    soon = [job for job in jobs if job.rows == ROWS[:1]] or jobs
    while _cpu_seconds() < seconds:
        for job in soon if seed < 2 << 32 else jobs:
            found = _look(job, share, seed)
            if found.failure:
                return job, found
            if _cpu_seconds() > seconds:
                return None
        share, seed = share * 3, seed + (1 << 32)
    return None


def _cpu_seconds() -> float:
    """Return what this process and its compilers have used: other load does not shorten a hunt."""
    compilers = getrusage(RUSAGE_CHILDREN)
    return time.process_time() + compilers.ru_utime + compilers.ru_stime


def _look(job: Job, seconds: float, seed: int) -> Found:
    if seed == 0:
        return Exploration(job, HUNTING).random(seed, 1 << 40, seconds)
    return explore(job, seconds, 2, seed, HUNTING)[-1]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Explore schedules of the NVRAR kernel.")
    parser.add_argument("--job", action="append", help="default: all of jobs.py")
    parser.add_argument("--seconds", type=float, default=4.0, help="of CPU time, for each job")
    parser.add_argument("--bound", type=int, default=2, help="deviations of the exhaustive part")
    parser.add_argument("--seed", type=int, default=0, help="the first one of the random part")
    parser.add_argument("--share", default="0/1", help="I/N: of all jobs every Nth, from I on")
    parser.add_argument("--wide", action="store_true", help="every edge with every type as well")
    parser.add_argument("--types", action="store_true", help="jobs of several types alone")
    parser.add_argument("--fabric", help="jobs of this one alone")
    parser.add_argument("--halving", action="store_true", help="jobs of this exchange alone")
    parser.add_argument("--hunt", action="store_true", help="all jobs in turn; --seconds in all")
    parser.add_argument("--settings", help="of a schedule to replay")
    parser.add_argument("--schedule", help="deviations to replay")
    return parser.parse_args()


def main() -> int:
    options = parse()
    if options.schedule is not None:
        return replay(options)
    from jobs import JOBS, WIDE

    jobs = JOBS + WIDE if options.wide else JOBS
    if options.job:
        jobs = [Job.parse(text) for text in options.job]
    first, every = map(int, options.share.split("/"))
    jobs = [job for job in jobs if len(job.rows) > 1 or not options.types]
    jobs = [job for job in jobs if job.halving or not options.halving]
    jobs = [job for job in jobs if options.fabric in (None, job.fabric)][first::every]
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
    choices = sum(part.steps for part in found)
    longest = max(part.longest for part in found)
    complete = "" if all(part.is_complete for part in found[1:3]) else ", bound not reached"
    print(
        f"{job}: {schedules} schedules, {choices} choices, {longest} at most{complete}", flush=True
    )
    if found[-1].failure:
        print(f"  {found[-1].failure}\n  {found[-1].command}", flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main())
