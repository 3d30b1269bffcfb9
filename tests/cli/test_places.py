"""No command overwrites what it reads, or writes two things to one place."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import combinations, product
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import typer
from output import one_error

from nvrar_bench.cli.app import app
from nvrar_bench.cli.places import require_places
from nvrar_bench.errors import UsageError

READING = ("--case", "--tuning", "--network", "--model")
SAME, TEXT = "same.json", "precious"


def _parameters() -> Iterator[tuple[str, Any]]:
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        yield from ((name, each) for each in command.params)


def _is_path(parameter: Any) -> bool:
    """Whether it holds a path: its metavar says so, and so does the type of its value."""
    return any(word in str(parameter.metavar) for word in ("PATH", "FILE", ".json"))


def _places(command: str) -> tuple[list[str], list[str]]:
    """The options by which a command writes files; what it reads: options, and "" per argument."""
    found = [each for name, each in _parameters() if name == command and _is_path(each)]
    read = ["" if each.param_type_name == "argument" else each.opts[-1] for each in found]
    return [name for name in read if name not in ("", *READING)], [
        name for name in read if name in ("", *READING)
    ]


def _clashes() -> Iterator[str]:
    """A command line for every two places of a command that may be one file."""
    for command in sorted({name for name, _ in _parameters()}):
        writes, reads = _places(command)
        for pair in [*combinations(writes, 2), *product(writes, dict.fromkeys(reads))]:
            # Without a folder it would be the name of a model.
            words = [f"{option} {'./' * (option == '--model')}{SAME}".strip() for option in pair]
            words += ["other.json"] * (reads.count("") - pair.count(""))
            if command == "tune" and "--output" not in pair:
                words += ["--output", "table.json"]
            yield " ".join([command, *words])


def test_a_path_is_known_by_its_metavar():
    """Else the tests below would not see it."""
    paths = [
        get_args(hint)[1]
        for command in app.registered_commands
        for hint in get_type_hints(command.callback, include_extras=True).values()
        if "pathlib.Path" in str(get_args(hint)[:1])
    ]
    assert len(paths) >= 10
    assert all(map(_is_path, paths)), [each.metavar for each in paths]


def test_the_commands_with_places():
    writing = {name for name, _ in _parameters() if _places(name)[0]}
    assert writing >= {"sweep", "check", "tune", "compare", "compile", "env", "merge", "report"}
    assert len(list(_clashes())) >= 10


@pytest.fixture
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(SAME).write_text(TEXT)
    Path("other.json").write_text(TEXT)


@pytest.mark.usefixtures("_folder")
@pytest.mark.parametrize("line", list(_clashes()))
def test_one_file_for_two_things(run_command: Callable[..., Any], line: str):
    done = run_command(*line.split())
    message = one_error(done.stderr)
    assert done.code == 2, message
    assert f"{SAME} is the same file as " in message
    assert "allowed: another file" in message
    assert Path(SAME).read_text() == TEXT


@pytest.mark.usefixtures("_folder")
def test_before_any_rank_starts(run_command: Callable[..., Any], run_mpirun: Callable[..., Any]):
    words = ["sweep", "--case", SAME, "--json", SAME]
    ends = [run_command(*words, "--ranks", 2), run_command(*words, "--ranks", 2, "--launches", 2)]
    for done in [*ends, run_mpirun(2, *words)]:
        assert "is the same file as --case" in one_error(done.stderr)
        assert done.code == 2
    assert Path(SAME).read_text() == TEXT


@pytest.mark.usefixtures("_folder")
def test_a_table_that_the_environment_names(run_command: Callable[..., Any]):
    environment = {"NVRAR_BENCH_TUNING": SAME}
    for words in (["env"], ["check", "--backend", "fake"]):
        done = run_command(*words, "--json", SAME, environment=environment)
        assert done.code == 2
        assert "is the same file as --tuning" in one_error(done.stderr)
    assert Path(SAME).read_text() == TEXT


@pytest.mark.usefixtures("_folder")
@pytest.mark.parametrize("how", ["spelling", "absolute", "symbolic", "folder", "hard"])
def test_the_same_file_by_another_name(how: str):
    here = Path.cwd()
    if how == "symbolic":
        Path("name").symlink_to(SAME)
    if how == "folder":
        Path("name").symlink_to(here, target_is_directory=True)
    if how == "hard":
        os.link(SAME, "name")
    other = {"spelling": Path(f"../{here.name}/{SAME}"), "absolute": here / SAME}
    named = other.get(how, Path("name", SAME) if how == "folder" else Path("name"))
    for writes, reads in (([named], [Path(SAME)]), ([Path(SAME)], [named]), ([named, SAME], [])):
        with pytest.raises(UsageError, match="is the same file as"):
            require_places(
                [(f"--{i}", Path(each)) for i, each in enumerate(writes)],
                [("RUN.json", each) for each in reads],
            )


@pytest.mark.usefixtures("_folder")
def test_two_files_that_are_not_there_yet():
    require_places([("--a", Path("new")), ("--b", Path("other"))], [("R", Path("nosuch"))])
    with pytest.raises(UsageError, match=r"--a new is the same file as --b .+new"):
        require_places([("--a", Path("new")), ("--b", Path(f"./../{Path.cwd().name}/new"))])


def _redirected(line: str) -> str:
    """The message of a command line in a shell."""
    command = f"{sys.executable} -m nvrar_bench {line}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done.stderr
    return one_error(done.stderr)


@pytest.mark.usefixtures("_folder")
def test_standard_input_and_output_that_are_files():
    message = _redirected(f"report - --output {SAME} < {SAME}")
    assert f"--output {SAME} is the same file as RUN.json -" in message
    message = _redirected(f"report {SAME} >> {SAME}")
    assert f"standard output is the same file as RUN.json {SAME}" in message
    message = _redirected(f"compare other.json other.json --json {SAME} >> {SAME}")
    assert f"--json {SAME} is the same file as standard output" in message
    assert Path(SAME).read_text() == TEXT


@pytest.mark.usefixtures("_folder")
@pytest.mark.parametrize(
    ("line", "texts"),
    [
        (
            "compare - -",
            ["BASE.json -", "NEW.json -", "can be read once", "a file for all but one"],
        ),
        ("report - -", ["RUN.json -", "can be read once"]),
        ("merge - other.json -", ["RUN.json -", "can be read once"]),
        ("compare a b --json - --markdown -", ["--json -", "--markdown -", "for one of them"]),
        ("compare a b --json new/", ["--json", "'new/' names a folder", "new/run.json"]),
        ("sweep --json new/", ["--json", "'new/' names a folder"]),
        ("tune --output new/", ["--output", "'new/' names a folder"]),
        ("env --json=", ["--json", "'': allowed: the path of a file"]),
        ("sweep --json=", ["--json", "'': allowed: the path of a file"]),
    ],
)
def test_what_is_no_place(run_command: Callable[..., Any], line: str, texts: list[str]):
    done = run_command(*line.split())
    message = one_error(done.stderr)
    assert done.code == 2, message
    assert [text for text in texts if text not in message] == [], message
    assert not Path("new").exists()
