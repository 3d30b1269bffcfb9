"""`nvrar-bench` and `python -m nvrar_bench`: run the command, print one message if it fails."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
import traceback
from collections.abc import Sequence

import typer

from nvrar_bench import streams
from nvrar_bench.cli.app import app
from nvrar_bench.errors import (
    SPOKEN,
    TRACEBACK,
    CompilerError,
    Interrupted,
    NvrarBenchError,
    ReaderGone,
    Unexpected,
    UsageError,
)
from nvrar_bench.launch import supervisor
from nvrar_bench.launch.environment import provide_home, rank
from nvrar_bench.launch.initialize import finalize_mpi
from nvrar_bench.launch.notices import Notice

# What Typer raises where it refuses an argument: BadParameter < UsageError < ClickException. Typer
# exports the first alone, and older versions take the others from another package.
_RefusedArguments: type[Exception] = typer.BadParameter.__mro__[2]
_RANK_0_SPEAKS_S = 1.5
_FINALIZE_S = 3.0
_LONG = 900  # characters of a message that may hold whatever was written
_STARTS_RANKS = ("--ranks", "--launcher", "--launches", "--max-launches")


def main() -> None:
    """Run the command line and exit with the documented code (errors.py)."""
    streams.take_over()
    provide_home(os.environ)
    # NumPy's library of linear algebra, of which nothing is used, starts a thread for each core.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    supervisor.wait_for_turn()
    gc.set_threshold(100_000)  # what starting makes is there to stay
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
        _say(_shown(_explained(error)))
        return UsageError.exit_code
    except ReaderGone as error:
        return error.exit_code
    except NvrarBenchError as error:
        return _ended_by(error)
    except (KeyboardInterrupt, typer.Abort):
        _say("interrupted")
        return Interrupted.exit_code
    except Exception as error:
        return _ended_by(Unexpected.of(error))


def _ended_by(error: NvrarBenchError) -> int:
    """Say what ended the command, and return its exit code.

    What other ranks may not know, the supervisors say once for all ranks that it ended.
    """
    if os.environ.get(TRACEBACK) and isinstance(error, Unexpected):
        traceback.print_exc()
    message = _shown(str(error), lines=isinstance(error, CompilerError))
    notice = Notice("failed", rank(os.environ), error.exit_code, message)
    if not (error.of_one_rank and supervisor.tell(notice)):
        _say(message, everywhere=error.of_one_rank)
    return error.exit_code


def _explained(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context else f"nvrar-bench {_command_name(sys.argv[1:])}"
    return f"{error.format_message()} (see {command} --help)"  # type: ignore[attr-defined]


def _say(message: str, everywhere: bool = False) -> None:
    """Print to stderr; of ranks rank 0 speaks for all, unless `everywhere`."""
    if everywhere or rank(os.environ) == 0 or not _becomes_rank(sys.argv[1:]):
        sys.stderr.write(f"{SPOKEN}{message}\n")
        sys.stderr.flush()
    elif supervisor.channel() is None:
        # Nobody watches over this job yet, and a launcher ends all ranks with the first that fails:
        # let rank 0 speak before.
        time.sleep(_RANK_0_SPEAKS_S)


def _command_name(words: Sequence[str]) -> str:
    """The command that `words`, the arguments of the program, are of; "" if they name none."""
    return next((word for word in words if not word.startswith("-")), "")


def _becomes_rank(words: Sequence[str]) -> bool:
    """Whether `words` have the process be a rank of the job in which a launcher has started it.

    A command that only reads files is none, and one that starts ranks itself is none either.
    """
    group = typer.main.get_command(app)
    command = getattr(group, "commands", {}).get(_command_name(words))
    can_be = command is not None and any(each.name == "ranks" for each in command.params)
    return can_be and not any(word.partition("=")[0] in _STARTS_RANKS for word in words)


def _shown(message: str, lines: bool = False) -> str:
    """As one line, unless it has `lines`: values may hold what breaks one or moves the cursor."""
    shown = "".join(c if c.isprintable() or (lines and c == "\n") else " " for c in message)
    if len(shown) > _LONG and not lines:
        shown = f"{shown[: _LONG // 2]} ... {shown[-_LONG // 2 :]}"
    return shown


if __name__ == "__main__":
    main()
