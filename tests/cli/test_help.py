"""What the command line says about itself, and what it must not load to say it."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import pytest
import typer
from output import one_error, require_golden

from nvrar_bench import __version__
from nvrar_bench.cli.app import app
from nvrar_bench.errors import EXIT_CODES
from nvrar_bench.settings.option import CASES, CHECKS, NVRAR, OUTPUT, PLACES, SAMPLES

GROUP: Any = typer.main.get_command(app)
COMMANDS: dict[str, Any] = GROUP.commands
HINT = "python -m nvrar_bench"  # what to type for help: as it was started
WIDE = {"COLUMNS": "200", "TERMINAL_WIDTH": "200"}


def test_the_designed_commands_are_there():
    """Those of shared/design.md, section 7, that this version has."""
    assert set(COMMANDS) >= {"sweep", "check", "env", "schema"}


def test_help_lists_the_commands(run_command: Callable[..., Any]):
    done = run_command("--help", environment=WIDE)
    assert (done.code, done.stderr) == (0, "")
    for name in COMMANDS:
        assert re.search(rf"^\s+{name}\s+\w+", done.stdout, re.MULTILINE), name
    described = done.stdout.partition("Exit codes:")[2]
    assert [int(line.split()[0]) for line in described.split("\n") if line] == list(EXIT_CODES)


def test_help_of_many_options_has_panels(run_command: Callable[..., Any]):
    """With few there is one list; a default stands in brackets, an argument under its name."""
    many, few = (
        run_command(name, "--help", environment=WIDE).stdout for name in ("sweep", "merge")
    )
    titles = re.findall(r"^([A-Z].*):$", many, re.MULTILINE)
    assert titles == [CASES, PLACES, SAMPLES, CHECKS, NVRAR, OUTPUT]
    assert re.search(r"Untimed calls .* \[20\]", many)
    assert re.findall(r"^([A-Z].*):$", few, re.MULTILINE) == ["Arguments", "Options"]
    assert "merge [OPTIONS] RUN.json...\n" in few


@pytest.mark.parametrize("flag", ["--help", "-h"])
@pytest.mark.parametrize("command", COMMANDS)
def test_help_lists_every_option_with_its_text(
    run_command: Callable[..., Any], command: str, flag: str
):
    done = run_command(command, flag, environment=WIDE)
    assert (done.code, done.stderr) == (0, "")
    words = " ".join(done.stdout.split())
    assert COMMANDS[command].help.split("\n")[0] in words
    for option in COMMANDS[command].params:
        for name in (*option.opts, *option.secondary_opts):
            assert re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", words), name
        if option.name != "help":
            assert len(option.help.split()) >= 3, f"{option.opts} has no help text"
        assert " ".join(option.help.split()) in words, option.opts


def _described(name: str, command: Any) -> str:
    """What a command says of itself, without the drawing of any version of Rich or Click."""
    lines = [f"nvrar-bench {name}".rstrip(), *_indented(command.help)]
    for each in command.params:
        names = ", ".join([*each.opts, *each.secondary_opts])
        lines += ["", f"  {names} {each.metavar or '(flag)'}", *_indented(each.help or "")]
        lines += _indented(f"required: {each.required}, default: {each.default!r}")
    return "\n".join([*lines, ""])


def _indented(text: str) -> list[str]:
    return textwrap.wrap(text, 100, initial_indent=" " * 6, subsequent_indent=" " * 6)


def test_what_the_commands_say_of_themselves():
    """To the letter; NVRAR_BENCH_GOLDEN=write writes it anew."""
    told = [_described("", GROUP), *(_described(name, each) for name, each in COMMANDS.items())]
    require_golden("help.txt", "\n".join(told))


@pytest.mark.parametrize("words", [("--help",), ("sweep", "--help"), ("--version",), ("--nosuch",)])
def test_neither_numpy_nor_mpi_is_loaded(words: tuple[str, ...]):
    command = [sys.executable, "-X", "importtime", "-m", "nvrar_bench", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "typer" in modules  # the list is one
    assert {name for name in modules if name.split(".")[0] in ("numpy", "mpi4py")} == set()


def test_version(run_command: Callable[..., Any]):
    done = run_command("--version")
    assert (done.code, done.stdout, done.stderr) == (0, f"nvrar-bench {__version__}\n", "")


def test_no_arguments_are_a_wish_for_help(run_command: Callable[..., Any]):
    assert run_command(environment=WIDE) == run_command("--help", environment=WIDE)


def test_unknown_command(run_command: Callable[..., Any]):
    done = run_command("swep")
    assert (done.code, done.stdout) == (2, "")
    message = one_error(done.stderr)
    assert "swep" in message
    assert f"{HINT} --help" in message


def test_a_hint_names_the_command(run_command: Callable[..., Any]):
    assert f"{HINT} sweep --help" in one_error(run_command("sweep", "--itres", 3).stderr)
    assert f"{HINT} check --help" in one_error(run_command("check", "--iters", 3).stderr)
