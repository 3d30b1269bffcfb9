"""`--ranks N` starts the launcher that belongs to the MPI library; `--launcher CMD` any command."""

from __future__ import annotations

import contextlib
import functools
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nvrar_bench.errors import (
    EXIT_CODES,
    SPOKEN,
    Interrupted,
    LostRank,
    Unavailable,
    UsageError,
)
from nvrar_bench.launch import again
from nvrar_bench.launch.banner import BannerFilter
from nvrar_bench.launch.deaths import killed
from nvrar_bench.launch.environment import batch_hint, expected_ranks
from nvrar_bench.launch.environment import launcher as launcher_of
from nvrar_bench.launch.flavours import Flavour, of_launcher, of_library
from nvrar_bench.launch.initialize import no_library
from nvrar_bench.launch.passage import Passage
from nvrar_bench.launch.processes import adopt_orphans, descendants, signal_when_parent_ends
from nvrar_bench.launch.segments import mapped_segments, unlink
from nvrar_bench.launch.signals import STOPS, Readable, Signals
from nvrar_bench.problem import Problem
from nvrar_bench.programs import answer

# From the first Ctrl-C until everything is killed. A rank has two seconds for its record, and its
# supervisor waits up to three for the others.
_GRACE_S = 8.0
_PRINTED_S = 2.0  # for standard output to take what the ranks of an interrupted run have printed
# From a rank's message of how the run ended until the launcher, which may reach no rank, is killed.
_UNREACHED_S = 8.0
_ORPHANS_S = 4.0  # from the launcher's end until the ranks that it left behind are killed
_LEFT_BEHIND = (
    b"nvrar-bench: the launcher did not end after that and was killed: ranks that it no longer "
    b"reaches end by their own deadline, --timeout\n"
)
_NO_LAUNCHER = Flavour("none", "", "", (), "", stop=signal.SIGINT)
_UNKNOWN = Flavour("unknown", "", "", (), "")


OPTIONS = ("--ranks", "--launcher")


@dataclass(frozen=True)
class Starter:
    """Who starts ranks: mpirun, with `ranks` of this machine, or the user's `command`."""

    ranks: int | None = None
    command: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.ranks is not None or bool(self.command)


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
    return _run(whole, flavour, dict(os.environ), stdout, _UNREACHED_S)


def _passed_on() -> list[str]:
    """Our own variables, as words: a launcher need not give its environment to other machines."""
    ours = (f"{name}={value}" for name, value in os.environ.items() if name.startswith("NVRAR_"))
    return ["env", *ours]


def alone(arguments: list[str], stdout: int | None = None) -> int:
    """Run `nvrar-bench` with `arguments` as one process, without a launcher; as `start` else."""
    return _run([*again.command(), *arguments], _NO_LAUNCHER, dict(os.environ), stdout)


def launch(ranks: int, command: list[str], stdout: int | None = None) -> int:
    """Run `command` on `ranks` ranks; as `start` in all else."""
    if ranks < 1:
        raise UsageError(f"--ranks {ranks}: the number of ranks is at least 1")
    _refuse_within(f"--ranks {ranks}")
    flavour, program = find()
    whole = [program, *flavour.flags, "-n", str(ranks), *command]
    with _own_folder(flavour) as own:
        return _run(whole, flavour, own | _environment(flavour, program, ranks), stdout)


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


# ---- finding the launcher ----------------------------------------------------------------------


def find() -> tuple[Flavour, str]:
    """Return the MPI of `library_version()`, and the launcher that belongs to it.

    Raises:
        Unavailable: mpi4py finds no MPI library, or no launcher belongs to it.
    """
    library = library_version()
    flavour = of_library(library)
    if flavour is None:
        what = f"--ranks does not know the launcher of {library!r}"
        fix = "start the ranks with that library's own mpirun, without --ranks"
        raise Unavailable(Problem(what, fix))
    others: dict[str, str] = {}
    for program in _candidates(flavour):
        found = flavour_of(program)
        if found is flavour:
            return flavour, program
        others[program] = found.name if found else "unknown"
    seen = "".join(f"; {program} is of {name}" for program, name in others.items())
    what = (
        f"--ranks needs mpirun of {flavour.name}, the MPI library that mpi4py loads, but there is "
        f"none beside {sys.executable} or on PATH{seen}"
    )
    fix = f"pip install {flavour.package}, or put the bin folder of that MPI first on PATH"
    raise Unavailable(Problem(what, fix, ". Remedy: "))


def flavour_of(program: str) -> Flavour | None:
    """Return the MPI that a launcher belongs to, by what it says of itself; None if unknown."""
    return of_launcher(_version_output(program))


def library_version() -> str:
    """Return the first line of MPI_Get_library_version(), without initialising MPI.

    Raises:
        Unavailable: mpi4py finds no MPI library.
    """
    import mpi4py

    # Only for this process, which never becomes a rank.
    mpi4py.rc.initialize = False
    mpi4py.rc.finalize = False
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise Unavailable(no_library(error)) from None
    return MPI.Get_library_version().partition("\n")[0].rstrip("\0 ")


def _candidates(flavour: Flavour) -> Iterator[str]:
    """Yield each launcher beside this Python, then each one on PATH."""
    # Not resolved: in a virtual environment sys.executable is a link to another folder.
    beside = str(Path(sys.executable).parent)
    for path in (beside, os.environ.get("PATH", os.defpath)):
        for name in flavour.programs:
            program = shutil.which(name, path=path)
            if program:
                yield program


@functools.cache
def _version_output(program: str) -> str:
    return answer([program, "--version"])


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


# ---- running it --------------------------------------------------------------------------------


def _run(
    command: list[str], flavour: Flavour, environment: dict[str, str], stdout: int | None,
    unreached_s: float = float("inf"),
) -> int:  # fmt: skip
    signals = Signals([*STOPS, signal.SIGCHLD])
    adopt_orphans()
    try:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,  # out of the terminal's session it could not read it
            stdout=subprocess.PIPE if stdout is None else stdout,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # Ctrl-C reaches this process alone, which passes it on once
            preexec_fn=_die_with_parent,
        )
        printed = Passage(process.stdout) if process.stdout else None
        stopped = _wait(process, signals, flavour, unreached_s)
        _wait_for_orphans(signals)
        if sys.stderr.isatty() and expected_ranks(os.environ) is None:
            _write_stderr(b"\x1b[?25h")
    finally:
        signals.close()
    if stopped is None:
        code = _exit_code(process.returncode, command[0])
        if printed:
            printed.end(code)
        return code
    for number in STOPS:  # one more Ctrl-C finds nothing left to end but this process's exit code
        signal.signal(number, signal.SIG_IGN)
    if printed:
        printed.end(Interrupted.exit_code, _PRINTED_S)
    if flavour.mutes_stopped:
        _write_stderr(f"the run was interrupted ({stopped.name})\n".encode())
    return Interrupted.exit_code


def _die_with_parent() -> None:
    signal_when_parent_ends(signal.SIGTERM)


def _write_stderr(data: bytes) -> None:
    sys.stderr.buffer.write(data)
    sys.stderr.flush()


def _wait(
    process: subprocess.Popen[bytes], signals: Signals, flavour: Flavour, unreached_s: float
) -> signal.Signals | None:
    """Wait for the launcher and pass its stderr on; return the signal that ended it early.

    It has `unreached_s` to end after a rank's message of how the run ended badly.
    """
    stopped, kill_at = None, float("inf")
    stderr = _Stderr(process, flavour)
    while process.poll() is None:
        numbers, ready = signals.wait(_until(kill_at), stderr.open)
        stderr.read(ready)
        asked = [number for number in numbers if number in STOPS]
        if asked and stopped is None:
            stopped, kill_at = asked[0], time.monotonic() + _GRACE_S
            process.send_signal(flavour.stop)
        elif asked or time.monotonic() >= kill_at:
            _kill([process.pid, *descendants(process.pid)])
            process.wait()
            if stopped is None:
                _write_stderr(_LEFT_BEHIND)
                process.returncode = LostRank.exit_code
        if stderr.has_told and kill_at == float("inf"):
            kill_at = time.monotonic() + unreached_s
    stderr.close()
    return stopped


def _wait_for_orphans(signals: Signals) -> None:
    """Wait for ranks that the launcher has left behind: rank 0 may be writing its record."""
    kill_at = time.monotonic() + _ORPHANS_S
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0]:
                continue
        except ChildProcessError:
            return
        if time.monotonic() >= kill_at:
            _kill(descendants(os.getpid()))
        signals.wait(0.1)


def _kill(pids: list[int]) -> None:
    """Kill processes that did not end when they were asked to, with their shared memory."""
    files = set().union(*(mapped_segments(pid) for pid in pids))
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    unlink(files)


def _until(moment: float) -> float | None:
    return None if moment == float("inf") else max(0.0, moment - time.monotonic())


class _Stderr:
    """The launcher's stderr, on its way to this process's."""

    def __init__(self, process: subprocess.Popen[bytes], flavour: Flavour) -> None:
        self.open: list[Readable] = [process.stderr] if process.stderr else []
        self.has_told = False  # a rank's message of how the run ended went by
        self._filter = BannerFilter(flavour.banner, _write_stderr) if flavour.banner else None

    def read(self, ready: list[Readable]) -> None:
        for each in ready:
            data = os.read(each.fileno(), 65536)
            self.has_told |= SPOKEN.encode() in data
            if not data:
                self.open = []
            elif self._filter:
                self._filter.feed(data)
            else:
                _write_stderr(data)

    def close(self) -> None:
        """Pass on what is left. Not to the end of the file: a rank may still hold the pipe open."""
        while ready := select.select(self.open, [], [], 0)[0]:
            self.read(ready)
        if self._filter:
            self._filter.close()


def _exit_code(code: int, program: str) -> int:
    """Return the documented exit code for that of `program`, and say so where it has none."""
    if code in EXIT_CODES:
        return code
    who = f"{program}, which started the ranks,"
    if code < 0:
        message = killed(who, -code, f"see whether `{program} -n 2 hostname` works here")
    else:  # 128 + a signal of a rank that nobody watched over yet, or a launcher's own number
        message = f"{who} ended with exit code {code}; what it said of that is above"
    message += batch_hint(os.environ)
    _write_stderr(f"{SPOKEN}{message}\n".encode())
    return LostRank.exit_code
