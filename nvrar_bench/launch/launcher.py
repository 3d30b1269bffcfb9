"""`--ranks N` starts the launcher that belongs to the MPI library; `--launcher CMD` any command."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

from nvrar_bench.errors import Unavailable, UsageError
from nvrar_bench.launch import again
from nvrar_bench.launch.environment import Starter, expected_ranks
from nvrar_bench.launch.environment import launcher as launcher_of
from nvrar_bench.launch.flavours import Flavour, find, flavour_of
from nvrar_bench.launch.job import run

_NO_LAUNCHER = Flavour("none", "", "", (), "", stop=signal.SIGINT)
_UNKNOWN = Flavour("unknown", "", "", (), "")
# From a rank's message of how the run ended until the launcher, which may reach no rank, is killed.
_UNREACHED_S = 8.0
OPTIONS = ("--ranks", "--launcher")


def start(starter: Starter, arguments: list[str], stdout: int | None = None) -> int:
    """Run `nvrar-bench` with `arguments`, less OPTIONS, on new ranks; return its exit code.

    `stdout` is a file descriptor for what they and the launcher print; None: this process's, which
    then gets all of it or an error, for launchers drop what theirs does not take.

    Ctrl-C, SIGTERM and SIGHUP end the ranks, and everything is killed where that takes too long
    or on a second signal. The ranks end as well when this process is killed.

    Raises UsageError inside mpirun and for fewer than one rank, Unavailable where no launcher
    belongs to the MPI library, OutputError where the ranks ended well and not all was printed.
    """
    command = [*again.command(), *without(arguments, OPTIONS)]
    if starter.ranks is not None:
        return launch(starter.ranks, command, stdout)
    _refuse_within("--launcher")
    flavour = flavour_of(starter.command[0]) or _UNKNOWN
    whole = [*starter.command, *_passed_on(), *command]
    return run(whole, flavour, dict(os.environ), stdout, _UNREACHED_S)


def _passed_on() -> list[str]:
    """Our own variables, as words: a launcher need not give its environment to other machines."""
    ours = (f"{name}={value}" for name, value in os.environ.items() if name.startswith("NVRAR_"))
    return ["env", *ours]


def alone(arguments: list[str], stdout: int | None = None) -> int:
    """Run `nvrar-bench` with `arguments` as one process, without a launcher; as `start` else."""
    return run([*again.command(), *arguments], _NO_LAUNCHER, dict(os.environ), stdout)


def launch(ranks: int, command: list[str], stdout: int | None = None) -> int:
    """Run `command` on `ranks` ranks; as `start` in all else."""
    if ranks < 1:
        raise UsageError(f"--ranks {ranks}: the number of ranks is at least 1")
    _refuse_within(f"--ranks {ranks}")
    flavour, program = find()
    whole = [program, "-n", str(ranks), *command]
    with _own_folder(flavour) as own:
        return run(whole, flavour, own | _environment(flavour, program, ranks), stdout)


def _refuse_within(option: str) -> None:
    row = launcher_of(os.environ)
    if row is not None and (expected_ranks(os.environ) or 1) > 1:
        raise UsageError(
            f"{option} starts mpirun itself, but {row.name} has started this process "
            "already: leave out one of the two"
        )


def without(arguments: list[str], options: tuple[str, ...]) -> list[str]:
    """Return `arguments` less `options`, long ones that take a value, and their values."""
    kept = []
    rest = iter(arguments)
    for argument in rest:
        if argument in options:
            next(rest, None)
        elif argument.partition("=")[0] not in options:
            kept.append(argument)
    return kept


def _environment(flavour: Flavour, program: str, ranks: int) -> dict[str, str]:
    # What the user has set wins over the row.
    environment = flavour.settings(ranks) | dict(os.environ)
    # Intel MPI's launcher finds its helpers by PATH alone.
    folders = [str(Path(program).parent), os.environ.get("PATH", os.defpath)]
    return environment | {"PATH": os.pathsep.join(folders)}


@contextlib.contextmanager
def _own_folder(flavour: Flavour) -> Iterator[dict[str, str]]:
    """Yield the variable that gives the launcher a folder of its own, which is removed at the end.

    Open MPI's names one by its pid, leaves it behind where it is killed, and cannot start as soon
    as it comes to the same pid again.
    """
    if not flavour.folder:
        yield {}
        return
    try:
        folder = tempfile.TemporaryDirectory(prefix="nvrar-bench-", ignore_cleanup_errors=True)
    except OSError as error:
        raise Unavailable(
            f"--ranks needs a folder for temporary files: {error.strerror}; name one in TMPDIR"
        ) from None
    with folder as name:
        yield {flavour.folder: name}
