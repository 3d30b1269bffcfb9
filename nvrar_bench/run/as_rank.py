"""Being one rank of a run, from the first barrier to the last word.

What only rank 0 needs, to show progress and results, is imported where that is done: a machine may
start hundreds of ranks.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from nvrar_bench import streams
from nvrar_bench.documents.files import STDOUT
from nvrar_bench.documents.record import Record
from nvrar_bench.documents.run_file import Journal, Writer
from nvrar_bench.errors import SPOKEN, NotOneJob, NvrarBenchError, ReaderGone, TimedOut, Unexpected
from nvrar_bench.guard import Guard, ReportedLoss
from nvrar_bench.launch.environment import check_world, launch_index, rank
from nvrar_bench.launch.initialize import (
    finalize_mpi,
    initialize_mpi,
    unlink_segments,
    unlink_world_segments,
)
from nvrar_bench.launch.supervisor import meet_siblings
from nvrar_bench.report import Shown
from nvrar_bench.run.session import Session
from nvrar_bench.run.stages import NoProgress, RunProgress, case_count
from nvrar_bench.settings.settings import Settings
from nvrar_bench.world import World, join, library_version

# Where no watch says how long to wait: those things are short, but may touch much memory.
_EXTRA_S = 2.0


def run_as_rank(settings: Settings, json: Path | None, shown: Shown) -> None:
    """Run, show the record on rank 0, and close it however the run ends.

    Every rank raises what ended it, or, where it ended well, that record or report was not written.
    """
    streams.expect_prints()
    journal = Journal(Writer(json))
    ending = _Ending(journal, None if json == STDOUT else shown)
    guard = Guard(ending.end)
    guard.start()
    try:
        world = _run(settings, journal, guard)
        try:
            ending.close(None)
        finally:
            with guard.watch("the writing of the table", settings.timeout):
                world.after_rank_0()
        with guard.watch("MPI_Finalize", settings.timeout):
            finalize_mpi()
    except TimedOut as error:
        guard.fail(error)  # the other ranks may still be waiting
    except NvrarBenchError as error:
        guard.stop()
        ending.close(error)
        raise
    except Exception as error:
        where = f"rank {rank(os.environ)} on host {socket.gethostname()}"
        unexpected = Unexpected.of(error, where)
        guard.stop()
        ending.close(unexpected)
        raise unexpected from error
    guard.stop()


def join_world() -> World:
    """Initialise MPI and find out which ranks there are.

    Unavailable without an MPI library, NotOneJob where the launcher started more ranks than MPI
    sees, UsageError where the machines run different numbers of ranks.
    """
    meet_siblings()
    initialize_mpi()
    world = join()
    try:
        check_world(world.size, os.environ, library_version())
    except NotOneJob:
        unlink_segments()
        raise
    world.comm.Barrier()
    unlink_world_segments(world.size)
    return world


class _Ending:
    """Closes the record once and shows it, by the guard or by the main thread."""

    def __init__(self, journal: Journal, shown: Shown | None) -> None:
        """`shown` is None where standard output is for the record alone."""
        self._journal, self._shown = journal, shown
        self._closing, self._is_closed = threading.Lock(), False

    def end(self, error: NvrarBenchError) -> None:
        """Close the record after `error`, and print that."""
        if rank(os.environ) == 0:
            from nvrar_bench.launch.console import console

            console("stderr").show_cursor(True)  # the progress bar hid it and will not end itself
        self.close(error)
        if not isinstance(error, ReportedLoss):
            print_error(error)

    def close(self, error: NvrarBenchError | None) -> None:
        """Close the record, and show it; whoever comes second waits until that is done.

        Raises the first that went wrong here, unless after `error`: then it is printed beside that.
        """
        with self._closing:
            if not self._is_closed:
                self._is_closed = True
                self._close(error)

    def _close(self, error: NvrarBenchError | None) -> None:
        """Close the record, and show it also where it could not be written."""
        problems = [problem] if (problem := _failure(lambda: self._journal.close(error))) else []
        record = self._journal.record
        if record is not None:
            unshown = _failure(lambda: self._show(record, error, anyhow=bool(problems)))
            problems += [unshown] if unshown else []
        if error is None and problems:
            raise problems[0]
        for problem in problems:
            if str(problem) != str(error):
                print_error(problem)

    def _show(self, record: Record, error: NvrarBenchError | None, *, anyhow: bool) -> None:
        """Show the record, unless it is one of several launches and `anyhow` is false."""
        from nvrar_bench.launch.console import console
        from nvrar_bench.launch.repeat import reports_elsewhere

        is_ours = anyhow or not reports_elsewhere(os.environ)
        if is_ours and self._shown is not None and (record.results or error is None):
            self._shown.write(record, console("stdout"))


def _failure(step: Callable[[], None]) -> NvrarBenchError | None:
    try:
        step()
    except NvrarBenchError as error:
        return error
    return None


def print_error(error: NvrarBenchError) -> None:
    """Print the one message of a run that ends badly, on the rank that speaks for all."""
    if rank(os.environ) == 0 and not isinstance(error, ReaderGone):
        sys.stderr.write(f"{SPOKEN}{error}\n")


def _run(settings: Settings, journal: Journal, guard: Guard) -> World:
    with guard.watch("MPI start-up", settings.timeout):
        world = join_world()
        if settings.virtual_ranks:
            world = world.with_virtual_ranks(settings.virtual_ranks)
    with _progress(case_count(settings, world) if world.rank == 0 else 0) as progress:
        guard.have_patience(settings.timeout + _EXTRA_S)
        guard.elsewhere = world.elsewhere()
        # Not every mpirun passes it on. Asleep: rank 0 has loaded what shows progress meanwhile.
        index = world.after_rank_0(launch_index(os.environ))
        Session(settings, world, journal, guard, progress, index).run(sys.argv)
        with guard.watch("the end of the run", settings.timeout):
            world.comm.Barrier()
    return world


def _progress(cases: int) -> AbstractContextManager[RunProgress]:
    if not cases:
        return nullcontext(NoProgress())
    from nvrar_bench.launch.console import console
    from nvrar_bench.report.progress import CaseProgress

    return CaseProgress(cases, console("stderr"))
