"""The explorers on the kernel as it is, and on kernels broken in one place: mutants.toml.

    python tests/exploration/score.py                 # all jobs, then all mutants
    python tests/exploration/score.py 'no entry' ...  # the mutants with these names

What became of a mutant is kept in the kernel cache, by the content of kernels/, of the mutant and
of the explorers: a pass that is cut off goes on where it was. `--again` asks for all of them anew.

It ends with code 1 if a schedule of the kernel fails, or a mutant survives that nothing explains.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from pathlib import Path
from resource import RLIMIT_CPU, prlimit
from signal import SIGKILL, SIGXCPU

from explore import CHECKER

from nvrar_bench.toolchain import host
from nvrar_bench.toolchain.cache import cache_dir, content_key
from nvrar_bench.toolchain.kernel import KERNELS_VARIABLE, kernels_dir, sources_digest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).resolve().parent
EXPLORE = HERE / "explore.py"
LIMIT_S = 60.0  # of CPU time for one mutant, compilers included
EXPLAINED_LIMIT_S = 10.0  # for one that nobody can see
SECONDS_PER_JOB = 0.5


@dataclass(frozen=True)
class Mutant:
    """One replacement of text in one file; `survives` tells why nobody can see it.

    `types`: what one type cannot show. `fabric`: the only one in which it can be seen. `halving`:
    it can be seen in that exchange alone.
    """

    name: str
    file: str
    old: str
    new: str
    survives: str = ""
    types: bool = False
    fabric: str = ""
    halving: bool = False


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant. `is_killed` with an empty `how` never happens.

    `seconds` are those of CPUs, compilers included: other load does not change them.
    """

    mutant: Mutant
    is_killed: bool
    how: str
    seconds: float

    @property
    def state(self) -> str:
        """In a word."""
        if self.is_killed:
            return "killed"
        return "explained" if self.mutant.survives else "SURVIVED"


def load() -> list[Mutant]:
    """Read mutants.toml."""
    tables = tomllib.loads((HERE / "mutants.toml").read_text())["mutant"]
    return [Mutant(**table) for table in tables]


def mutate(mutant: Mutant, folder: Path) -> None:
    """Write the broken kernels to `folder`.

    Raises:
        ValueError: the text to replace does not occur once.
    """
    shutil.copytree(kernels_dir(), folder)
    file = folder / mutant.file
    text = file.read_text()
    if text.count(mutant.old) != 1:
        raise ValueError(f"{mutant.name}: {mutant.file} has changed: adapt mutants.toml")
    file.write_text(text.replace(mutant.old, mutant.new))


def judge(mutant: Mutant, limit: float = LIMIT_S) -> Verdict:
    """Explore all jobs with the broken kernels until one fails."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mutate(mutant, folder / "kernels")
        variables = {
            KERNELS_VARIABLE: str(folder / "kernels"),
            "NVRAR_BENCH_CACHE": str(folder / "cache"),
        }
        command = [sys.executable, str(EXPLORE), "--hunt", "--seconds", str(limit)]
        command += ["--types"] if mutant.types else []
        command += ["--halving"] if mutant.halving else []
        command += ["--fabric", mutant.fabric] if mutant.fabric else []
        with (folder / "out").open("w+") as out, (folder / "err").open("w+") as err:
            run = subprocess.Popen(command, env=os.environ | variables, stdout=out, stderr=err)
            prlimit(run.pid, RLIMIT_CPU, (int(limit) + 10, int(limit) + 20))
            _, status, used = os.wait4(run.pid, 0)  # and what its compilers used
            run.returncode = os.waitstatus_to_exitcode(status)
        told = [(folder / file).read_text() for file in ("out", "err")]
        is_killed, how = _read(run.returncode, *told)
    return Verdict(mutant, is_killed, how, used.ru_utime + used.ru_stime)


def recall(mutant: Mutant, limit: float, again: bool) -> Verdict:
    """Return what `judge` says, or has said of the same sources."""
    if mutant.survives:
        limit = min(limit, EXPLAINED_LIMIT_S)
    explorers = [(HERE / name).read_text() for name in ("explore.py", "jobs.py")]
    facts = [*map(str, astuple(mutant)), *explorers]
    facts += [sources_digest(CHECKER), sources_digest(kernels_dir())]
    facts += [host.compiler().identity, str(limit)]
    file = cache_dir() / "mutants" / f"{content_key(facts)}.json"
    if not again:
        with contextlib.suppress(OSError, ValueError):
            return Verdict(mutant, **json.loads(file.read_text()))
    verdict = judge(mutant, limit)
    file.parent.mkdir(parents=True, exist_ok=True)
    kept = {"is_killed": verdict.is_killed, "how": verdict.how, "seconds": verdict.seconds}
    stage = file.with_suffix(f".{os.getpid()}")
    stage.write_text(json.dumps(kept))
    stage.replace(file)
    return verdict


def _read(code: int, stdout: str, stderr: str) -> tuple[bool, str]:
    if code == 0:
        return False, ""
    if code == -SIGXCPU:
        return True, "the kernel never returned"
    if code < 0 and code != -SIGKILL:  # which memory that runs out sends
        return True, f"the kernel crashed, signal {-code}"
    if code != 1 or not stdout:
        raise RuntimeError(stderr[-2000:])
    return True, stdout.strip()


def explore_kernel(seconds: float, shares: int) -> bool:
    """Explore the kernel as it is; print what was run and what failed. False if something did."""
    runs = [
        subprocess.Popen(
            [sys.executable, str(EXPLORE), "--seconds", str(seconds), "--share", f"{i}/{shares}"],
            stdout=subprocess.PIPE, text=True,
        )
        for i in range(shares)
    ]  # fmt: skip
    lines = "".join(run.communicate()[0] for run in runs).splitlines()
    counts = [re.search(r": (\d+) schedules, (\d+) choices", line) for line in lines]
    found = [match for match in counts if match]
    schedules, choices = (sum(int(match[i]) for match in found) for i in (1, 2))
    print(f"{len(found)} configurations, {schedules} schedules, {choices} choices in them")
    for line in lines:
        if line.startswith("  "):
            print(line)
    is_well = all(run.returncode == 0 for run in runs)
    print("no schedule fails" if is_well else "SCHEDULES FAIL", flush=True)
    return is_well


def main() -> int:
    options = parse()
    mutants = [m for m in load() if not options.names or m.name in options.names]
    is_well = bool(options.names) or explore_kernel(options.seconds, options.jobs)
    with ThreadPoolExecutor(options.jobs) as pool:
        verdicts = []
        for verdict in pool.map(lambda m: recall(m, options.limit, options.again), mutants):
            verdicts.append(verdict)
            say(verdict)
    return max(summarise(verdicts), 0 if is_well else 1)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Explore, and score the explorers by mutants.")
    parser.add_argument("names", nargs="*", help="of mutants; default: all, and the kernel itself")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at a time")
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="seconds for each")
    parser.add_argument("--seconds", type=float, default=SECONDS_PER_JOB, help="for each job")
    parser.add_argument("--again", action="store_true", help="forget earlier verdicts")
    return parser.parse_args()


def say(verdict: Verdict) -> None:
    print(f"{verdict.state:9} {verdict.seconds:5.1f} s  {verdict.mutant.name}", flush=True)
    for line in (verdict.how or verdict.mutant.survives).splitlines():
        print(f"                   {line.strip()[:400]}", flush=True)


def summarise(verdicts: Sequence[Verdict]) -> int:
    states = [verdict.state for verdict in verdicts]
    killed = states.count("killed")
    print(
        f"mutation score {100 * killed / len(states):.1f} %: {killed} of {len(states)} killed, "
        f"{states.count('explained')} explained, {states.count('SURVIVED')} survived"
    )
    return 1 if "SURVIVED" in states else 0


if __name__ == "__main__":
    sys.exit(main())
