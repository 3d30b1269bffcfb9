"""The Typer application and its commands."""

from __future__ import annotations

from typing import Annotated

import typer

from nvrar_bench import __version__
from nvrar_bench.cli import compare, env, execute, stored
from nvrar_bench.cli.compile import compile_kernels
from nvrar_bench.cli.nccl_tests import NcclTestsHabits
from nvrar_bench.settings.option import expanded

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
app.command()(expanded(stored.merge))
app.command("compile")(expanded(compile_kernels))
app.command()(expanded(env.env))
app.command()(expanded(compare.compare))
app.command()(expanded(stored.report))
app.command()(expanded(stored.schema))


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
