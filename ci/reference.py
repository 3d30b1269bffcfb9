"""Write the options of every command into docs/reference.md, as the command line itself has them.

python ci/reference.py            # after a change of an option or of its help text
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import typer.main

from nvrar_bench.cli.app import app

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference.md"
BEGIN = "<!-- written by ci/reference.py: begin -->"
END = "<!-- written by ci/reference.py: end -->"
FIRST = "sweep"  # other commands list the options that they share with it by name alone
_DEFAULT = re.compile(r"\s*(?:\[(?P<short>[^\]]*)\]|Default: (?P<long>[^.]*)\.)$")


def commands() -> dict[str, Any]:
    """Return the commands of the command line by name."""
    group: Any = typer.main.get_command(app)
    return dict(group.commands)


def names_of(option: Any) -> list[str]:
    """Return all names of an option, those that turn it off last."""
    return [*option.opts, *option.secondary_opts]


def render() -> str:
    """Return the sections of all commands as Markdown."""
    shared = {_row(option) for option in _options(commands()[FIRST])}
    sections = []
    for name, command in commands().items():
        sections += [_section(name, command, set() if name == FIRST else shared)]
    return "\n".join(sections)


def written(page: str) -> str:
    """Return `page` with its sections of commands replaced."""
    head, _, rest = page.partition(BEGIN)
    return f"{head}{BEGIN}\n\n{render()}\n{END}{rest.partition(END)[2]}"


def _section(name: str, command: Any, shared: set[str]) -> str:
    rows = [_row(option) for option in _options(command)]
    own = [row for row in rows if row not in shared]
    if name == FIRST:
        own = list(_in_panels(command))
    same = [
        f"`{_longest(option)}`"
        for option, row in zip(_options(command), rows, strict=True)
        if row in shared
    ]
    lines = [f"### {name}", "", " ".join(command.help.split()), ""]
    lines += [f"    nvrar-bench {name} [OPTIONS]{_arguments(command)}", ""]
    if own:
        lines += ["| option | meaning | default |", "|---|---|---|", *own, ""]
    if same:
        lines += [f"As for `{FIRST}`: {', '.join(same)}.", ""]
    return "\n".join(lines)


def _options(command: Any) -> list[Any]:
    return [each for each in command.params if each.param_type_name == "option"]


def _in_panels(command: Any) -> Iterator[str]:
    """Yield the rows of all options, with a row for the title of each panel of --help."""
    for panel, options in groupby(_options(command), lambda each: each.rich_help_panel):
        yield from (f"| **{panel}** | | |", *(_row(option) for option in options))


def _arguments(command: Any) -> str:
    found = [each.metavar for each in command.params if each.param_type_name == "argument"]
    return "".join(f" {metavar}" for metavar in found)


def _row(option: Any) -> str:
    text = " ".join((option.help or "").split())
    default = "required" if option.required else _shown(option)
    if found := _DEFAULT.search(text):
        text, default = text[: found.start()], found["short"] or found["long"]
    names = ", ".join(f"`{name}`" for name in names_of(option))
    metavar = "" if option.is_flag else f" `{option.metavar}`"
    return f"| {_cell(names + metavar)} | {_cell(text)} | {_cell(default)} |"


def _shown(option: Any) -> str:
    if option.default is True:
        return f"`{option.opts[0]}`"
    return "" if option.default in (None, False) else str(option.default)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _longest(option: Any) -> str:
    return next((name for name in option.opts if name.startswith("--")), option.opts[0])


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
