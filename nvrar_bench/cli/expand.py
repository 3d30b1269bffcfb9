"""A dataclass of options as the parameters of a command, which Typer does not offer by itself."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

Options = TypeVar("Options")


def expanded(command: Callable[[Options], None]) -> Callable[..., None]:
    """Return `command` with a parameter for each field of the dataclass that it takes.

    A field is `name: Annotated[type, typer.Option(...)] = default`.
    """
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
    for group in options.__mro__:
        for name, annotation in inspect.get_annotations(group, eval_str=True).items():
            default = getattr(options, name, inspect.Parameter.empty)
            yield inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
            )
