"""The host's kernel under AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer.

    python tests/exploration/sanitize.py                         # all three, one round
    python tests/exploration/sanitize.py thread --rounds 20 --wide

Every thread of every rank is a thread of one process, sanitized.cpp, which includes the kernel as
the fabric `loopback` does and runs jobs of `jobs.py` and jobs of larger windows, whose vectors are
full. A round is all jobs with other delays. `--wide` adds the edges that CI leaves out, and builds
all element types. It ends with code 1 if a result is wrong or a sanitizer reports.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from random import Random

from explore import (
    CHUNK_BYTES,
    DTYPES,
    FLAG_SPAN,
    OPS,
    PLACEMENTS,
    PROTOCOLS,
    ROWS,
    Call,
    Job,
    c_job,
    row_list,
)
from jobs import JOBS, WIDE

from nvrar_bench.toolchain import host
from nvrar_bench.toolchain.cache import content_key, find_or_build
from nvrar_bench.toolchain.kernel import kernels_dir, sources_digest

HERE = Path(__file__).parent
SOURCES = ("sanitized.cpp", "told_order.hpp", "checker/job.cuh")
SANITIZERS = ("address", "undefined", "thread")
SANITIZED_ROWS = (*ROWS, ("int64", "sum"))
# Those that WIDE has, and each type with an operation, which take turns.
WIDE_ROWS = (*SANITIZED_ROWS, *zip(DTYPES, cycle(reversed(OPS)), strict=False))
WINDOW_BYTES = 4096  # a slice of it holds several of the CPU's vectors
SPIN = 20
TIMEOUT_NS = 60_000_000_000
LIMIT_S = 280.0  # for one round
# Leaks are those of a process that ends at once. What is found first ends it.
OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=0",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:exitcode=66",
}
_SHAPES = [(2, 1), (3, 1), (2, 2), (4, 2), (5, 1), (6, 3), (4, 4), (7, 1), (8, 4), (8, 2)]
_LAUNCHES = [(1, 1), (2, 1), (1, 2), (3, 2), (2, 3), (4, 1)]


@dataclass(frozen=True)
class Report:
    """What one program said; `is_silent` if every result was right and nothing was found."""

    sanitizer: str
    is_silent: bool
    text: str
    seconds: float


def build(sanitizer: str, rows: Sequence[tuple[str, str]]) -> Path:
    """Build sanitized.cpp for `rows`, unless the cache holds it."""
    flags = [
        "-std=c++17", "-O1", "-g1", "-w", "-pthread", f"-fsanitize={sanitizer}",
        "-fno-sanitize-recover=all", f"-DNVRAR_ROWS={row_list(rows)}",
    ]  # fmt: skip
    if sanitizer == "thread":
        flags.append("-DNVRAR_TELL_ORDER")
    texts = [(HERE / name).read_text() for name in SOURCES]
    facts = [*flags, *texts, sources_digest(kernels_dir()), host.compiler().identity]

    def compile_to(folder: Path) -> None:
        command = [*host.compiler().command, *flags, *host.include_flags()]
        command += [str(HERE / SOURCES[0]), "-o", str(folder / "program")]
        subprocess.run(command, check=True)

    return find_or_build(f"sanitized-{sanitizer}", content_key(facts), "program", compile_to)


def large_jobs(rows: Sequence[tuple[str, str]]) -> list[Job]:
    """Calls of random sizes and shapes, odd ones mostly; the same at each call."""
    dice = Random(1)
    jobs = []
    for number, (ranks, nodes) in enumerate(_SHAPES):
        calls = tuple(_large_call(dice, rows, ranks // nodes) for _ in range(6))
        epoch = FLAG_SPAN - 4 if number % 2 else 1
        radix = 4 if number % 4 == 2 else 2
        jobs.append(Job(ranks, nodes, "mapped", calls, epoch, radix, window=WINDOW_BYTES))
    return jobs


def _large_call(dice: Random, rows: Sequence[tuple[str, str]], per_node: int) -> Call:
    row = dice.choice(rows)
    window = WINDOW_BYTES // DTYPES[row[0]].itemsize
    ends = (1, per_node, window // 16, window // per_node, window, 2 * window, 3 * window)
    return Call(
        dice.choice(PROTOCOLS), max(1, dice.choice(ends) + dice.randint(-3, 3)),
        *dice.choice(_LAUNCHES), CHUNK_BYTES * dice.choice((1, 4, 5, 64)),
        dice.choice(("direct", "staged")), dice.choice(list(PLACEMENTS)), dice.randint(0, 3), row,
    )  # fmt: skip


def jobs_for(rows: Sequence[tuple[str, str]], is_wide: bool) -> list[Job]:
    """All jobs that `rows` can run, on ranks that all come and are all mapped."""
    jobs = [*JOBS, *(WIDE if is_wide else []), *large_jobs(rows)]
    return [
        job for job in jobs
        if job.fabric == "mapped" and job.absent < 0 and {c.row for c in job.calls} <= set(rows)
    ]  # fmt: skip


def write(jobs: Sequence[Job], rows: Sequence[tuple[str, str]], file: Path) -> None:
    """Write what sanitized.cpp reads: struct Job, then its struct Calls, job by job."""
    with file.open("wb") as out:
        for job in jobs:
            told = c_job(job, rows)
            out.write(bytes(told))
            for call in told.calls[: told.call_count]:
                call.arguments.spin, call.arguments.timeout_ns = SPIN, TIMEOUT_NS
                out.write(bytes(call))


def sanitize(
    sanitizer: str, rows: Sequence[tuple[str, str]], seed: int = 1, is_wide: bool = False
) -> Report:
    """Build, and run all jobs once."""
    program = build(sanitizer, rows)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        jobs = Path(folder, "jobs")
        write(jobs_for(rows, is_wide), rows, jobs)
        done = _run([str(program), str(jobs), str(seed)])
        if "unexpected memory mapping" in done.stderr:  # TSan and much randomness of addresses
            done = _run(["setarch", "-R", str(program), str(jobs), str(seed)])
    is_silent = done.returncode == 0 and not done.stderr
    seconds = time.monotonic() - began
    return Report(sanitizer, is_silent, (done.stdout + done.stderr).strip(), seconds)


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], **OPTIONS}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT_S)


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the host's kernel under sanitizers.")
    parser.add_argument("sanitizers", nargs="*", choices=[*SANITIZERS, []], metavar="SANITIZER",
                        help=f"default: {', '.join(SANITIZERS)}")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--wide", action="store_true")
    options = parser.parse_args()
    names = options.sanitizers or SANITIZERS
    rows = WIDE_ROWS if options.wide else SANITIZED_ROWS
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda name: build(name, rows), names))
    failed = 0
    for seed in range(1, options.rounds + 1):
        for name in names:
            report = sanitize(name, rows, seed, options.wide)
            failed += not report.is_silent
            print(f"{name}, round {seed}: {report.text} in {report.seconds:.1f} s", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
