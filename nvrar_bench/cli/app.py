"""The Typer application and its commands."""

from __future__ import annotations

from typing import Annotated

import typer

from nvrar_bench import __version__
from nvrar_bench.cli import compare, env, execute, stored
from nvrar_bench.cli.command import Command
from nvrar_bench.cli.compile import compile_kernels
from nvrar_bench.cli.nccl_tests import NcclTestsHabits
from nvrar_bench.settings.option import expanded

_EXIT_CODES = """\
  0    all done, all correct
  1    unexpected error, or output that could not be written
  2    bad arguments or case file
  3    a result was wrong
  4    a timeout, a hang or a lost rank
  5    a backend or device asked for by name is not available
  6    compare found a slower point
  130  interrupted"""

app = typer.Typer(
    name="nvrar-bench",
    help="All-reduce benchmarks: NCCL, MPI and NVRAR side by side, one method, one verifier.\n\n"
    "Start here: `nvrar-bench sweep --ranks auto` measures on this machine; `nvrar-bench env` "
    "lists what is missing.",
    epilog=f"Exit codes:\n\n\b\n{_EXIT_CODES}",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command(cls=NcclTestsHabits)(expanded(execute.sweep))
app.command(cls=Command)(expanded(execute.check))
app.command(cls=Command)(expanded(execute.tune))
app.command(cls=Command)(expanded(execute.decode))
app.command(cls=Command)(expanded(stored.merge))
app.command("compile", cls=Command)(expanded(compile_kernels))
app.command(cls=Command)(expanded(env.env))
app.command(cls=Command)(expanded(compare.compare))
app.command(cls=Command)(expanded(stored.report))
app.command(cls=Command)(expanded(stored.schema))


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
