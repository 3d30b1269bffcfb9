"""What a command line makes of its process, before its options are read or where they cannot be."""

from __future__ import annotations

from collections.abc import Sequence

import typer

_STARTS_RANKS = ("--ranks", "--launcher", "--launches", "--max-launches")


def command_name(words: Sequence[str]) -> str:
    """The command that `words`, the arguments of the program, are of; "" if they name none."""
    return next((word for word in words if not word.startswith("-")), "")


def becomes_rank(app: typer.Typer, words: Sequence[str]) -> bool:
    """Whether `words` have the process be a rank of the job in which a launcher has started it.

    A command that only reads files is none, and one that starts ranks itself is none either.
    """
    group = typer.main.get_command(app)
    command = getattr(group, "commands", {}).get(command_name(words))
    can_be = command is not None and any(each.name == "ranks" for each in command.params)
    return can_be and not any(word.partition("=")[0] in _STARTS_RANKS for word in words)
