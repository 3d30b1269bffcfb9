"""How many broken kernels the explorers find: mutants.toml, each in a copy of kernels/.

    python tests/exploration/score.py                 # all
    python tests/exploration/score.py 'no entry' ...  # those with these names

It ends with code 1 if one survives that `survives` does not explain.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from nvrar_bench.toolchain.kernel import KERNELS_VARIABLE, kernels_dir

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).parent
LIMIT_S = 60.0  # for one mutant, compilers included


@dataclass(frozen=True)
class Mutant:
    """One replacement of text in one file; `survives` tells why nobody can see it."""

    name: str
    file: str
    old: str
    new: str
    survives: str = ""


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant. `is_killed` with an empty `how` never happens."""

    mutant: Mutant
    is_killed: bool
    how: str
    seconds: float


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
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        mutate(mutant, Path(folder, "kernels"))
        variables = {KERNELS_VARIABLE: f"{folder}/kernels", "NVRAR_BENCH_CACHE": f"{folder}/cache"}
        command = [sys.executable, str(HERE / "explore.py"), "--hunt", "--seconds", str(limit)]
        try:
            done = subprocess.run(
                command, env=os.environ | variables, capture_output=True, text=True,
                timeout=limit + 10,
            )  # fmt: skip
            is_killed, how = _read(done)
        except subprocess.TimeoutExpired:
            is_killed, how = True, "the kernel never returned"
    return Verdict(mutant, is_killed, how, time.monotonic() - began)


def _read(done: subprocess.CompletedProcess[str]) -> tuple[bool, str]:
    if done.returncode == 0:
        return False, ""
    if done.returncode < 0:
        return True, f"the kernel crashed, signal {-done.returncode}"
    if done.returncode != 1 or not done.stdout:
        raise RuntimeError(done.stderr[-2000:])
    return True, done.stdout.strip()


def main() -> int:
    parser = argparse.ArgumentParser(description="Score the explorers by broken kernels.")
    parser.add_argument("names", nargs="*", help="of mutants; default: all")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at a time")
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="seconds for each")
    options = parser.parse_args()
    mutants = [m for m in load() if not options.names or m.name in options.names]
    with ThreadPoolExecutor(options.jobs) as pool:
        verdicts = []
        for verdict in pool.map(lambda mutant: judge(mutant, options.limit), mutants):
            verdicts.append(verdict)
            say(verdict)
    return summarise(verdicts)


def say(verdict: Verdict) -> None:
    state = "killed" if verdict.is_killed else "SURVIVED"
    if not verdict.is_killed and verdict.mutant.survives:
        state = "explained"
    print(f"{state:9} {verdict.seconds:5.1f} s  {verdict.mutant.name}", flush=True)
    for line in (verdict.how or verdict.mutant.survives).splitlines():
        print(f"                   {line.strip()[:400]}", flush=True)


def summarise(verdicts: list[Verdict]) -> int:
    killed = [v for v in verdicts if v.is_killed]
    left = [v for v in verdicts if not v.is_killed and not v.mutant.survives]
    explained = len(verdicts) - len(killed) - len(left)
    print(f"{len(killed)} of {len(verdicts)} killed, {explained} explained, {len(left)} survived")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
