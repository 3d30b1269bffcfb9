"""Carry out a run: start the ranks or be one of them, and end with the documented exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from nvrar_bench.cli.places import Named
    from nvrar_bench.cli.shown import Shown
    from nvrar_bench.settings.settings import Settings


def execute(
    make_settings: Callable[[], Settings], *, ranks: int | None, launcher: str | None,
    json: Path | None, shown: Shown, reads: Sequence[Named] = (), writes: Sequence[Named] = (),
    launches: int = 1, max_launches: int | None = None,
) -> None:  # fmt: skip
    """Run `make_settings()` on new ranks, or as a rank of the job this is part of.

    New are `ranks` of this machine, or those that the command `launcher` starts.

    `reads` and `writes` are the files of the command, less `json`, the only one that may be `-`.
    `shown` is what to show of the record.

    Raises:
        NvrarBenchError: what ended the run, on every rank; the record holds it too.
    """
    from nvrar_bench import launch
    from nvrar_bench.cli.network import with_network
    from nvrar_bench.cli.places import require_places
    from nvrar_bench.errors import UsageError
    from nvrar_bench.launch.initialize import load_mpi
    from nvrar_bench.launch.launcher import Starter
    from nvrar_bench.settings.options import command

    def require_own_places() -> None:
        only_files = [option for option, _ in writes]
        require_places([("--json", json), *writes], reads, only_files=only_files)

    if ranks is not None and launcher:
        raise UsageError(
            f"--ranks {ranks} and --launcher exclude each other: the command says how many ranks "
            "it starts"
        )
    starter = Starter(ranks, command("--launcher", launcher))
    if launches != 1 or max_launches is not None:
        from nvrar_bench.cli.launch_count import Wanted
        from nvrar_bench.cli.repeat import repeat

        require_own_places()
        raise typer.Exit(
            repeat(make_settings(), Wanted(launches, max_launches), starter, json, shown)
        )
    if not starter:
        launch.supervise()  # before NumPy and MPI: a fork copies no thread and no connection
        if launch.rank(os.environ) == 0:
            require_own_places()
        settings = make_settings()  # a mistake is found before MPI starts
        settings = with_network(settings)  # before a library is loaded that reads variables
        load_mpi()  # the guard, not the import, starts MPI: the wait for other ranks has a deadline
        from nvrar_bench.cli.as_rank import run_as_rank

        run_as_rank(settings, json, shown)
        return
    from nvrar_bench.cli.console import announce_terminal

    require_own_places()
    make_settings()  # a mistake is found before any rank starts
    announce_terminal()
    raise typer.Exit(launch.start(starter, sys.argv[1:]))
