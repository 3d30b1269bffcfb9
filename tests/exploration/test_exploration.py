"""The kernel under orders of a scheduler's choice, and explorers that find what is broken."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from explore import Checker, Job
from jobs import JOBS
from score import Mutant, judge, load, mutate

from nvrar_bench.toolchain import host
from nvrar_bench.toolchain.kernel import KERNELS_VARIABLE, kernels_dir

EXPLORE = Path(__file__).parent / "explore.py"
SECONDS_PER_JOB = 0.1
MUTANTS = {mutant.name: mutant for mutant in load()}
CHOSEN = [
    "flag and data are read by two loads",
    "a wait in vain goes on",
    "flags are stored relaxed",
    "empty units are left out",
    "packets leave before all threads have written theirs",
    "in place, the result is stored over what still leaves",
    "chunks are expected in another order than they are put",
]


def explore(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXPLORE), *map(str, arguments)]
    return subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=250
    )


def test_no_schedule_fails():
    shares = len(os.sched_getaffinity(0))
    host.build_all([Checker(fabric, rows) for fabric, rows in {(j.fabric, j.rows) for j in JOBS}])
    with ThreadPoolExecutor(shares) as pool:
        runs = pool.map(
            lambda i: explore("--seconds", SECONDS_PER_JOB, "--share", f"{i}/{shares}"),
            range(shares),
        )
        for done in runs:
            assert done.returncode == 0, done.stdout + done.stderr


def test_broken_kernels_are_found():
    with ThreadPoolExecutor(2) as pool:
        for verdict in pool.map(judge, [MUTANTS[name] for name in CHOSEN]):
            assert verdict.is_killed, verdict.mutant.name


def test_a_failure_can_be_replayed(tmp_path):
    """The command that is printed runs the schedule that failed, and it fails in the same way."""
    mutate(MUTANTS["one parity"], tmp_path / "kernels")
    broken = {KERNELS_VARIABLE: str(tmp_path / "kernels")}
    job = "2x2 mapped | signal:3:1x1:16:direct:in | signal:3:1x1:16:direct:in"
    found = explore("--job", job, "--seconds", 20, **broken)
    assert found.returncode == 1, found.stderr
    _, failure, command = (line.strip() for line in found.stdout.splitlines())
    replayed = explore(*shlex.split(command)[2:], **broken)
    assert (replayed.returncode, replayed.stdout.strip()) == (1, failure)
    mended = explore(*shlex.split(command)[2:])
    assert mended.returncode == 0
    assert re.fullmatch(r"all was well in \d+ choices\n", mended.stdout)


@pytest.mark.parametrize("job", JOBS, ids=lambda job: str(job).split(" |")[0])
def test_jobs_are_read_as_they_are_written(job):
    assert Job.parse(str(job)) == job


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_mutants_fit_the_kernel(mutant: Mutant):
    text = (kernels_dir() / mutant.file).read_text()
    assert text.count(mutant.old) == 1, f"{mutant.file} has changed: adapt mutants.toml"
    assert mutant.old != mutant.new


def test_names_of_mutants_are_unique():
    assert len(MUTANTS) == len(load())
