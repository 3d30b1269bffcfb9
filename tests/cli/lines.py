"""Command lines made of what the application says of itself: new options are drawn as well."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import typer
from hypothesis import strategies as st

from nvrar_bench import __main__ as command
from nvrar_bench.cli.app import app
from nvrar_bench.launch import launcher, supervisor
from nvrar_bench.settings.casefile import shipped_case_files
from nvrar_bench.settings.settings import Settings

NUMBERS = ["0", "-1", "1.5", "10000001", "1e400", "nan", "inf", "", "x", "0x2", "1_0", "9" * 5000,
           "-0", "1e-320", "\uff11"]  # fmt: skip
SIZES = ["0", "-1", "1.3", "1e3", "", "K", "x", "9223372036854775807", "99999999999999999999",
         "16E", "\uff14", "1KK", "2\u212a"]  # fmt: skip
NAMES = ["", " ", "x", "float31", "two\nlines", "float32 ", "é", "\x1b[2J", "all,all", ",", "-",
         "--", "--sizes", "/", "\udcff", "a\0b", "x" * 300]  # fmt: skip
FILES = ["nosuch", "", ".", "..", "/dev/null", "a.toml", "\n", "no/such.json", "x" * 300, "a\0b"]
BAD = [*NUMBERS, *SIZES, *NAMES, *FILES]
# One of each kind, for every option.
WORST = [
    "",
    " ",
    "-1",
    "0",
    "nan",
    "1e400",
    "9" * 5000,
    "two\nlines",
    "\x1b[2J",
    "\udcff",
    "a\0b",
    ",",
]
GOOD = {
    "N": ["1", "2", "3", "4", "8", "200"],
    "K": ["1", "2", "3", "128"],
    "X": ["2", "1.5", "1.25", "4.0"],
    "SECONDS": ["1", "0.5", "60"],
    "SIZE": ["4", "100", "1K", "1.5k", "2MiB", "8M", "3G"],
    "FILE": [*shipped_case_files()],
}

_APPLICATION = typer.main.get_command(app)
_COMMANDS = _APPLICATION.commands  # type: ignore[attr-defined]


def commands() -> list[str]:
    """Every command there is."""
    return sorted(_COMMANDS)


def options(name: str) -> list[Any]:
    """Every option of a command."""
    return [each for each in _COMMANDS[name].params if each.param_type_name == "option"]


def arguments(name: str, given: Sequence[str] = ()) -> list[str]:
    """Words for what a command must have and is not `given`: files that are not there."""
    words = []
    for each in _COMMANDS[name].params:
        if each.required and each.param_type_name == "argument":
            words.append(f"missing-{each.name}.json")
        elif each.required and not {word.partition("=")[0] for word in given} & set(each.opts):
            words += [each.opts[0], f"missing-{each.name}.json"]
    return words


def spellings(option: Any) -> list[str]:
    """Every way to write it, `--no-` forms too."""
    return [*option.opts, *option.secondary_opts]


def values(option: Any) -> st.SearchStrategy[str]:
    """What may follow it: mostly what its help names, or each line would fail at its first word."""
    good = GOOD.get(option.metavar or "", _words(option))
    one = _often(good, BAD)
    some = st.lists(one, min_size=1, max_size=3).map(",".join)
    return some if option.metavar == "LIST" else one


def _words(option: Any) -> list[str]:
    """The words of its help, among which are those that it allows."""
    text = f"{option.metavar or ''} {option.help or ''} {option.default or ''}"
    return re.findall(r"[\w-]+", text) + GOOD["N"] + GOOD["SIZE"]


def _often(good: list[str], bad: list[str]) -> st.SearchStrategy[str]:
    return st.integers(0, 9).flatmap(lambda n: st.sampled_from(bad if n == 0 else good))


@st.composite
def command_lines(draw: Any, *names: str) -> list[str]:
    """A command with some of its options, now and then with one that it does not have."""
    words = [draw(st.sampled_from(names or commands()))]
    known = options(words[0])
    chosen = draw(st.lists(st.sampled_from(known), max_size=6, unique=True)) if known else []
    for option in chosen:
        spelling = draw(st.sampled_from(spellings(option)))
        if option.is_flag:
            words.append(spelling)
        else:
            value = draw(values(option))
            joined = spelling.startswith("--") and draw(st.booleans())
            words += [f"{spelling}={value}"] if joined else [spelling, value]
    words += arguments(words[0], words)
    return words + draw(st.sampled_from([[], [], [], [], ["--nosuch"], ["surplus"], ["-Z"]]))


@dataclass(frozen=True)
class Outcome:
    """How a command line ended in this process, and what settings it made."""

    code: int
    stdout: str
    stderr: str
    settings: tuple[Settings, ...]


class Runner:
    """Runs command lines in this process up to where ranks or compilers would start."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self._made: list[Settings] = []
        patch.setattr(command, "app", _APPLICATION)  # or Typer would make it anew for each line
        for module in [m for n, m in sys.modules.items() if n.startswith("nvrar_bench.cli.")]:
            if hasattr(module, "execute"):
                patch.setattr(module, "execute", self._execute)
        from nvrar_bench.report import progress
        from nvrar_bench.toolchain import product

        patch.setattr(progress, "_LINE_EVERY_S", float("inf"))  # also on a slow machine
        patch.setattr(product, "build_all", lambda orders, tell: [])
        # Whatever else a command does, it starts nothing here.
        patch.setattr(launcher, "start", lambda ranks, arguments: 0)
        patch.setattr(supervisor, "supervise", lambda: sys.exit("a rank would begin here"))

    def _execute(self, make_settings: Any, *_: Any) -> None:
        self._made.append(make_settings())

    def run(self, words: list[str]) -> Outcome:
        """Run one command line."""
        self._made.clear()
        self._patch.setattr(sys, "argv", ["nvrar-bench", *words])
        out, error = io.StringIO(), io.StringIO()
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(error),
            pytest.raises(SystemExit) as end,
        ):
            command.main()
        return Outcome(end.value.code, out.getvalue(), error.getvalue(), tuple(self._made))
