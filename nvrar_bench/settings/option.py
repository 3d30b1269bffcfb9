"""How options are declared: as fields of a dataclass, spelled as --help shows them.

A command's options are one frozen dataclass, which may inherit groups that commands share:

    iters: int | None = option("-n, --iters N", "Samples per case.")

Typer takes no dataclasses; `expanded` makes a parameter of each of their fields. --help shows the
options of classes with the same `panel` together.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, field, fields
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import typer

REQUIRED: Any = MISSING
# The panels of --help.
CASES = "What to measure"
PLACES = "Ranks, backends and devices"
SAMPLES = "Samples"
CHECKS = "Verification"
NVRAR = "NVRAR (auto chooses what you leave out)"
OUTPUT = "Output and limits"
Options = TypeVar("Options")
Parser = Callable[[str], Any]


def option(spelling: str, text: str, default: Any = None, parser: Parser | None = None) -> Any:
    """Declare an option by its names and the name of its value, such as `-n, --iters N`.

    Whole numbers and numbers have a parser by their type; `text` is what --help says.
    """
    words = spelling.replace(",", "").split()
    names = [word for word in words if word.startswith("-")]
    metavar = next((word for word in words if not word.startswith("-")), None)
    return _field(default, typer.Option, *names, metavar=metavar, help=text, parser=parser)


def flag(spelling: str, text: str) -> Any:
    """Declare an option without a value."""
    return option(spelling, text, default=False)


def argument(metavar: str, text: str, default: Any = REQUIRED) -> Any:
    """Declare what is given without a name."""
    return _field(default, typer.Argument, metavar=metavar, help=text)


def _field(default: Any, made: Callable[..., Any], *names: str, **how: Any) -> Any:
    return field(default=default, metadata={"names": names, "made": made, "how": how})


def expanded(command: Callable[[Options], None]) -> Callable[..., None]:
    """Return `command` with a parameter for each field of the dataclass that it takes."""
    (taken,) = inspect.signature(command, eval_str=True).parameters.values()
    parameters = list(_parameters(taken.annotation))

    @functools.wraps(command)
    def with_options(**given: Any) -> None:
        command(taken.annotation(**given))

    with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {each.name: each.annotation for each in parameters}
    return with_options


def _parameters(options: type[Any]) -> Iterator[inspect.Parameter]:
    """In the order of the classes that `options` inherits; dataclasses.fields has the reverse."""
    declared = {each.name: each for each in fields(options)}
    for group in options.__mro__:
        for name, kind in inspect.get_annotations(group, eval_str=True).items():
            of = declared[name]
            default = inspect.Parameter.empty if of.default is MISSING else of.default
            panel = vars(group).get("panel")
            yield inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=default,
                annotation=Annotated[kind, _for_typer(of, kind, panel)],
            )


def _for_typer(of: Field[Any], kind: Any, panel: str | None) -> Any:
    """Return the option, with the parser that its type has where it has none of its own."""
    how = {**of.metadata["how"], "rich_help_panel": panel}
    if how.get("parser") is None:
        by_type = (_PARSERS.get(one) for one in (kind, *get_args(kind)))
        how["parser"] = next(filter(None, by_type), None)
    return of.metadata["made"](*of.metadata["names"], **how)


def _converted(convert: Parser, text: str, allowed: str) -> Any:
    try:
        return convert(text)
    except ValueError:
        # Typer adds the option's name, here and below; its own messages do not name the value.
        raise typer.BadParameter(f"{text!r}: allowed: {allowed}") from None


def whole(text: str) -> int:
    """Read a whole number."""
    return int(_converted(int, text, "a whole number"))


def number(text: str) -> float:
    """Read a number."""
    return float(_converted(float, text, "a number"))


_PARSERS: dict[Any, Parser] = {int: whole, float: number}


def graph_calls(text: str) -> int:
    """Read the calls of a graph: 0 is no graph, as in nccl-tests, and so is a single call."""
    return whole(text) or 1


def rank_count(text: str) -> int:
    """Read a number of ranks; `auto` is one per core, and two where there is but one."""
    if text == "auto":
        from nvrar_bench.devices.machine import usable_cores

        return max(2, usable_cores())
    return int(_converted(int, text, "a whole number, or auto"))


def place(text: str) -> Path:
    """Read the path of a file to be written; what a Path forgets of it is refused here."""
    if not text:
        raise typer.BadParameter("'': allowed: the path of a file")
    # A Path drops the slash: `runs/` would be written as a file called `runs`.
    if text.endswith("/"):
        raise typer.BadParameter(
            f"{text!r} names a folder; allowed: a file, such as {text}run.json"
        )
    return Path(text)
