"""The Typer application and its commands.

Typer takes no dataclasses of options; `expanded` makes a parameter of each of their fields.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Annotated, Any, TypeVar

import typer

from nvrar_bench import __version__
from nvrar_bench.cli import compare, env, execute, merge, report, schema
from nvrar_bench.cli.compile import compile_kernels
from nvrar_bench.cli.nccl_tests import NcclTestsHabits

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


app = typer.Typer(
    name="nvrar-bench",
    help="All-reduce benchmarks: NCCL, MPI and NVRAR side by side, one method, one verifier.",
    epilog="Exit codes: 0 all done and correct, 1 unexpected error, 2 bad arguments or case file, "
    "3 a result was wrong, 4 a timeout, a hang or a lost rank, 5 a backend or device asked for by "
    "name is not available, 6 a regression, 130 interrupted.",
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command(cls=NcclTestsHabits)(expanded(execute.sweep))
app.command()(expanded(execute.check))
app.command()(expanded(execute.tune))
app.command()(expanded(execute.decode))
app.command()(merge.merge)
app.command("compile")(compile_kernels)
app.command()(env.env)
app.command()(compare.compare)
app.command()(expanded(report.report))
app.command()(schema.schema)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nvrar-bench {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _main(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback prints it
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
