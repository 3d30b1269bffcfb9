"""The entry point: which exit code and how many words each kind of end gets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nvrar_bench import errors

# `schema` stands for any command, and `sweep` for one of ranks: it fails with what is raised here.
RUN = """
import sys
from nvrar_bench import errors
from nvrar_bench.settings import planning
import nvrar_bench.documents as documents

def fail(*_, **__):
    raise {error}

documents.schema_of = planning.sweep_settings = fail
sys.argv = ["nvrar-bench", "{command}"]
from nvrar_bench.__main__ import main
main()
"""


MAIN = """
import sys
sys.argv[0] = "nvrar-bench"
from nvrar_bench.__main__ import main
main()
"""


def _main(
    error: str, command: str = "schema", **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", RUN.format(error=error, command=command)],
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


RANK_1 = {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}


def test_an_unexpected_error_is_told_by_the_rank_that_has_it():
    for command in ("sweep", "schema"):
        done = _main("RuntimeError('it broke')", command, **RANK_1)
        assert done.stderr.startswith("nvrar-bench: error: unexpected RuntimeError: it broke")
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)


def test_rank_0_tells_what_all_ranks_know():
    done = _main("errors.UsageError('it is wrong')", "sweep", **RANK_1)
    assert (done.returncode, done.stderr) == (2, "")


# A command that is no rank speaks, whatever the environment says: variables of a launcher reach
# what a rank starts, and stay in a shell.
NO_RANKS = [
    "report nosuch.json",
    "compare nosuch.json nosuch.json",
    "merge nosuch.json",
    "env --device x",
    "compile --arch x",
    "schema x",
    "sweep --ranks 2",
    "sweep --ranks=2 --sizes x",
    "check --ranks",
    "nosuch",
    "--nosuch",
]


@pytest.mark.parametrize("line", NO_RANKS)
@pytest.mark.parametrize("names", [("PMI_RANK", "PMI_SIZE"), tuple(RANK_1)], ids=["PMI", "OMPI"])
def test_only_ranks_are_mute(line: str, names: tuple[str, str]):
    done = subprocess.run(
        [sys.executable, "-m", "nvrar_bench", *line.split()],
        env={**os.environ, names[0]: "1", names[1]: "2"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr.count("nvrar-bench: error: ")) == (2, 1), done.stderr


@pytest.mark.parametrize("command", ["sweep", "tune", "check", "compile"])
def test_the_hint_names_the_help_of_the_command(command: str):
    option = "--json" if command != "compile" else "--arch"
    for words in ([option], ["--nosuch"], ["extra"]):
        done = subprocess.run(
            [sys.executable, "-c", MAIN, command, *words], capture_output=True, text=True
        )
        assert done.stderr.endswith(f"(see nvrar-bench {command} --help)\n"), done.stderr


ERRORS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.NvrarBenchError)
]


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


BEFORE_MPI = """
import sys
from nvrar_bench.__main__ import main
from nvrar_bench.launch import initialize, supervisor

def load_mpi():
    sys.exit(17 if "mpi4py.MPI" in sys.modules else 0)

supervisor.supervise = lambda patience_s: None
initialize.load_mpi = load_mpi
main()
"""


@pytest.mark.parametrize("command", [("sweep",), ("check",), ("tune", "--output", "t.json")])
def test_settings_are_made_before_mpi_is_loaded(command: tuple[str, ...], tmp_path: Path):
    """An import of mpi4py.MPI before `load_mpi` would start MPI, and without a deadline."""
    words = [sys.executable, "-c", BEFORE_MPI, *command]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
