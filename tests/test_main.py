"""The entry point: which exit code and how many words each kind of end gets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nvrar_bench import errors

# `schema` stands for any command: it fails with what is raised here.
RUN = """
import sys
from nvrar_bench import errors
from nvrar_bench.results import schema

def fail():
    raise {error}

schema.schema = fail
sys.argv = ["nvrar-bench", "schema"]
from nvrar_bench.__main__ import main
main()
"""


def _main(error: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", RUN.format(error=error)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("error", "text"),
    [
        ("RuntimeError('it broke')", "unexpected RuntimeError: it broke"),
        ("RuntimeError('it\\nbroke')", "unexpected RuntimeError: it broke"),
        ("KeyError('key')", "unexpected KeyError: 'key'"),
        ("MemoryError()", "unexpected MemoryError"),
        ("RecursionError('deep')", "unexpected RecursionError: deep"),
    ],
)
def test_unexpected_error(error: str, text: str):
    done = _main(error)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"nvrar-bench: error: {text}")
    assert done.stderr.endswith("(NVRAR_BENCH_TRACEBACK=1 shows where)\n")
    assert done.stderr.count("\n") == 1


def test_traceback_on_request():
    done = _main("RuntimeError('it broke')", NVRAR_BENCH_TRACEBACK="1")
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert "in fail" in done.stderr
    assert "nvrar-bench: error: unexpected RuntimeError: it broke" in done.stderr.splitlines()[-1]


def test_an_unexpected_error_is_told_by_the_rank_that_has_it():
    rank_1 = {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}
    assert "it broke" in _main("RuntimeError('it broke')", **rank_1).stderr
    done = _main("errors.UsageError('it is wrong')", **rank_1)
    assert (done.returncode, done.stderr) == (2, "")


ERRORS = [kind for kind in vars(errors).values() if isinstance(kind, type)]


def _documented() -> dict[str, int]:
    """The tree in the docstring of errors.py."""
    lines = [line.strip(" │├└─").split() for line in str(errors.__doc__).splitlines()]
    return {line[0]: int(line[1]) for line in lines if len(line) > 1 and line[1].isdecimal()}


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_expected_error(kind: type[errors.NvrarBenchError]):
    wanted = "" if kind.exit_code == 1 else "1"  # a traceback shows where only what nobody expected
    done = _main(f"errors.{kind.__name__}('say this')", NVRAR_BENCH_TRACEBACK=wanted)
    assert (done.returncode, done.stdout) == (_documented()[kind.__name__], "")
    is_told = kind is not errors.ReaderGone
    assert done.stderr == ("nvrar-bench: error: say this\n" if is_told else "")


def test_ctrl_c_before_anything_runs():
    done = _main("KeyboardInterrupt")
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.strip() in ("", "nvrar-bench: error: interrupted")  # as Typer has it


SCRIPT = Path(sys.executable).with_name("nvrar-bench")


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ([sys.executable, "-m", "nvrar_bench"], "python -m nvrar_bench"),
        ([str(SCRIPT)], SCRIPT.name),
    ],
    ids=["module", "script"],
)
def test_both_ways_to_start_it(command: list[str], name: str):
    if not Path(command[0]).exists():
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run([*command, "schema"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert '"$schema"' in done.stdout
    done = subprocess.run([*command, "schema", "--nosuch"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"(see {name} schema --help)" in done.stderr


def test_schema_is_a_schema():
    import json

    import jsonschema

    done = subprocess.run(
        [sys.executable, "-m", "nvrar_bench", "schema"], capture_output=True, text=True
    )
    jsonschema.Draft202012Validator.check_schema(json.loads(done.stdout))
