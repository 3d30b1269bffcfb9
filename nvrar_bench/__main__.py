"""`nvrar-bench` and `python -m nvrar_bench`: run the command, print one message if it fails."""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback

import typer

from nvrar_bench import streams
from nvrar_bench.cli.app import app
from nvrar_bench.errors import (
    TRACEBACK,
    CompilerError,
    Interrupted,
    NvrarBenchError,
    ReaderGone,
    Unexpected,
    UsageError,
)
from nvrar_bench.launch import supervisor
from nvrar_bench.launch.environment import rank
from nvrar_bench.launch.home import provide_home
from nvrar_bench.launch.initialize import finalize_mpi

# What Typer raises where it refuses an argument: BadParameter < UsageError < ClickException. Typer
# exports the first alone, and older versions take the others from another package.
_RefusedArguments: type[Exception] = typer.BadParameter.__mro__[2]
_RANK_0_SPEAKS_S = 1.5
_FINALIZE_S = 3.0
_LONG = 900  # characters of a message that may hold whatever was written


def main() -> None:
    """Run the command line and exit with the documented code (errors.py)."""
    streams.take_over()
    provide_home(os.environ)
    code = _run()
    if code == 1 and "mpi4py.MPI" in sys.modules:
        # MPI_Finalize, at exit, waits for ranks that wait for this one.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    if code and "mpi4py.MPI" in sys.modules:
        _finalize_soon(code)
    sys.exit(code)


def _finalize_soon(code: int) -> None:
    """Finalise MPI, but do not wait for good for ranks that know of no failure."""
    timer = threading.Timer(_FINALIZE_S, os._exit, (code,))
    timer.daemon = True
    timer.start()
    finalize_mpi()
    timer.cancel()


def _run() -> int:
    try:
        return int(app(standalone_mode=False) or 0)
    except _RefusedArguments as error:
        _say(_explained(error))
        return UsageError.exit_code
    except ReaderGone as error:
        return error.exit_code
    except Unexpected as error:
        return _unexpected(error)
    except NvrarBenchError as error:
        _say(str(error), lines=isinstance(error, CompilerError))
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        _say("interrupted")
        return Interrupted.exit_code
    except Exception as error:
        return _unexpected(Unexpected.of(error))


def _unexpected(error: Unexpected) -> int:
    if os.environ.get(TRACEBACK):
        traceback.print_exc()
    _say(str(error), everywhere=True)
    return error.exit_code


def _explained(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "nvrar-bench"
    return f"{error.format_message()} (see {command} --help)"  # type: ignore[attr-defined]


def _say(message: str, everywhere: bool = False, lines: bool = False) -> None:
    """Print to stderr, on rank 0 alone unless only this rank may know; one line unless `lines`.

    Values in it may hold anything, also what would break a line or move the cursor.
    """
    if everywhere or rank(os.environ) == 0:
        shown = "".join(c if c.isprintable() or (lines and c == "\n") else " " for c in message)
        if len(shown) > _LONG and not lines:
            shown = f"{shown[: _LONG // 2]} ... {shown[-_LONG // 2 :]}"
        sys.stderr.write(f"nvrar-bench: error: {shown}\n")
        sys.stderr.flush()
    elif supervisor.channel() is None:
        # Nobody watches over this job yet, and a launcher ends all ranks with the first that fails:
        # let rank 0 speak before.
        time.sleep(_RANK_0_SPEAKS_S)


if __name__ == "__main__":
    main()
