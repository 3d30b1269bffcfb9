"""`sweep`, `check`, `tune`, `decode`: start ranks or be one of them, and end with the exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from nvrar_bench.errors import UsageError
from nvrar_bench.launch.environment import Starter
from nvrar_bench.report import Shown
from nvrar_bench.settings.options import (
    CheckOptions,
    DecodeOptions,
    RunOptions,
    SweepOptions,
    TuneOptions,
)

if TYPE_CHECKING:
    from nvrar_bench.networks import Network
    from nvrar_bench.settings.settings import Settings

    MakeSettings = Callable[[], Settings]


def sweep(options: SweepOptions) -> None:
    """Measure latency and bandwidth of all-reduce over message sizes.

    This machine: nvrar-bench sweep --ranks auto. A cluster: mpirun -n 16 nvrar-bench sweep.

    Sizes are bytes per rank; K, M, G and T are powers of 1024. A LIST has commas. Defaults are in
    brackets.
    """
    from nvrar_bench.settings.planning import sweep_settings

    shown = Shown("table", options.wide, options.verbose)
    execute(lambda: sweep_settings(options), options, shown)


def check(options: CheckOptions) -> None:
    """Verify every case of a case file on every backend.

    No times are reported. All cases run, also after a wrong one; exit code 3 if any was wrong.
    """
    from nvrar_bench.settings.planning import check_settings

    execute(lambda: check_settings(options), options, Shown("summary"))


def tune(options: TuneOptions) -> None:
    """Write a table of NVRAR's fastest settings, for --tuning.

    Slow candidates are eliminated early. The winner must then beat the default in a fresh
    head-to-head run. A wrong result ends the search with exit code 3.
    """
    from nvrar_bench.settings.planning import tune_settings

    execute(lambda: tune_settings(options), options, Shown("tuning"))


def decode(options: DecodeOptions) -> None:
    """Measure one decode step of a tensor-parallel transformer.

    A step makes one token of each sequence: in every layer the ranks read their parts of weights
    and KV cache, and all-reduce the hidden state twice. Shown are the time of whole steps, the part
    that is all-reduce, tokens per second, and how many times faster NVRAR's steps are.
    """
    from nvrar_bench.settings.planning import decode_settings

    execute(lambda: decode_settings(options), options, Shown("decode"))


def execute(make_settings: MakeSettings, options: RunOptions, shown: Shown) -> None:
    """Run `make_settings()` on new ranks, or as a rank of the job this is part of.

    New are the `--ranks` of this machine, or those that the command `--launcher` starts. `shown` is
    what to show of the record.

    NvrarBenchError: what ended the run, on every rank; the record holds it too.
    """
    # Here and below, imports wait for their use: --help and the start of ranks load neither
    # NumPy nor MPI.
    from nvrar_bench.launch import environment, supervisor

    starter = _starter(options)
    if isinstance(options, SweepOptions) and options.are_several:
        from nvrar_bench.launch.repeat import Wanted, repeat

        _require_places(options)
        make_settings()
        wanted = Wanted(options.launches, options.max_launches)
        raise typer.Exit(repeat(wanted, starter, options.virtual_ranks, options.json, shown))
    if starter:
        from nvrar_bench.launch import launcher
        from nvrar_bench.launch.console import announce_terminal

        _require_places(options)
        make_settings()  # a mistake is found before any rank starts
        announce_terminal()
        raise typer.Exit(launcher.start(starter, sys.argv[1:]))
    supervisor.supervise(options.timeout)  # before MPI: a fork copies no thread and no connection
    # One rank is enough, and others may have no access to the folder.
    if environment.rank(os.environ) == 0:
        _require_places(options)
    _become_rank(make_settings(), options, shown)  # a mistake is found before MPI starts


def _require_places(options: RunOptions) -> None:
    """Refuse files of the command that cannot be written, or that another one would replace."""
    from nvrar_bench.cli.places import require_places, run_reads

    case = options.case if isinstance(options, SweepOptions | CheckOptions) else None
    table = None if isinstance(options, TuneOptions) else options.tuning
    reads = run_reads(case, table, options.network)
    if isinstance(options, DecodeOptions):
        from nvrar_bench.settings.models import model_path

        reads.append(("--model", model_path(options.model)))
    writes = [("--output", options.output)] if isinstance(options, TuneOptions) else []
    # The record alone may go to standard output.
    require_places([("--json", options.json), *writes], reads, only_files=["--output"])


def _starter(options: RunOptions) -> Starter:
    from nvrar_bench.settings.values import command

    if options.ranks is not None and options.launcher:
        raise UsageError(
            f"--ranks {options.ranks} and --launcher exclude each other: the command says how many "
            "ranks it starts"
        )
    return Starter(options.ranks, command("--launcher", options.launcher))


def _become_rank(settings: Settings, options: RunOptions, shown: Shown) -> None:
    from nvrar_bench.launch.initialize import load_mpi

    settings = with_network(settings)  # before a library is loaded that reads variables
    load_mpi()  # the guard, not the import, starts MPI: the wait for other ranks has a deadline
    from nvrar_bench.run.as_rank import run_as_rank

    run_as_rank(settings, options.json, shown)


def with_network(settings: Settings) -> Settings:
    """Set the variables of --network in this process, and let the settings say so.

    To be called on every rank, before MPI, NCCL or NVSHMEM is loaded.
    """
    if settings.network is None:
        return settings
    from nvrar_bench.inventory import network as here
    from nvrar_bench.networks import AUTO, apply

    is_auto, device = settings.network == AUTO, settings.device
    # Which device a run will take, found out without loading a library of CUDA.
    if device == "auto" and not here.has_driver():
        device = "cpu"
    applied = apply(network(settings.network), is_auto, device, os.environ, here.lacks)
    return replace(settings, applied=applied)


def network(asked: str) -> Network:
    """Return the network that is asked for (UsageError where there is none such).

    `auto` is the fastest that this machine has an adapter of, or else TCP.
    """
    from nvrar_bench import networks

    if asked != networks.AUTO:
        return networks.read(asked)
    from nvrar_bench.inventory.network import kinds

    here = kinds()
    usable = (
        kind
        for kind in networks.FOUND_BY
        if any(one.status == "here" for one in here.get(kind, []))
    )
    return networks.of_adapter(next(usable, "none"))
