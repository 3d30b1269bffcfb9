"""Commands that hundreds of ranks run at once: their options are read without loading pydantic.

From some version on Typer has each value read by a model of pydantic, which takes 0.1 s of each
rank's core to load. Options of ours need no more than the parser that option.py gives them.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from typer.core import TyperCommand, TyperGroup


class _OwnParsers:
    """Of a command or a group: its options are read by their own parsers."""

    def get_params(self, context: Any) -> list[Any]:
        """Return the options, --help among them."""
        parameters: list[Any] = super().get_params(context)  # type: ignore[misc]
        for each in parameters:
            typed = getattr(each, "type_descriptor", None)  # of the versions that use pydantic
            if typed is not None and not isinstance(each.process_value, partial):
                parser = typed.parameter_info.parser
                each.process_value = partial(_read, each, each.process_value, parser)
        return parameters


class RankCommand(_OwnParsers, TyperCommand):
    """A command that ranks run."""


class RankGroup(_OwnParsers, TyperGroup):
    """The program itself, before its commands."""


def _read(parameter: Any, general: Any, parser: Any, context: Any, value: Any) -> Any:
    """Return the value of an option; `general` is Typer's way, for --help and what is missing."""
    if (value is None and parameter.required) or (value and parameter.callback):
        return general(context, value)
    return parser(value) if parser and isinstance(value, str) else value
