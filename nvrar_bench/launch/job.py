"""One run of a launcher: what its ranks print, how it is stopped, what is left behind.

Standard output and standard error are passed on as they come. A signal that stops this process
stops the ranks; whatever outlives the launcher is killed.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from threading import Thread
from typing import IO

import psutil

from nvrar_bench.errors import EXIT_CODES, SPOKEN, Interrupted, LostRank, OutputError, ReaderGone
from nvrar_bench.launch.environment import batch_hint, expected_ranks
from nvrar_bench.launch.flavours import Flavour
from nvrar_bench.launch.initialize import mapped_segments, unlink
from nvrar_bench.launch.processes import (
    STOPS,
    Readable,
    Signals,
    adopt_orphans,
    killed,
    signal_when_parent_ends,
)

# From the first Ctrl-C until everything is killed. A rank has two seconds for its record, and its
# supervisor waits up to three for the others.
_GRACE_S = 8.0
_PRINTED_S = 2.0  # for standard output to take what the ranks of an interrupted run have printed
_ORPHANS_S = 4.0  # from the launcher's end until the ranks that it left behind are killed
_LEFT_BEHIND = (
    b"nvrar-bench: the launcher did not end after that and was killed: ranks that it no longer "
    b"reaches end by their own deadline, --timeout\n"
)
_CHUNK = 1 << 16
_RULE = b"-" * 74  # the line above and below each of Open MPI's messages


def run(
    command: list[str], flavour: Flavour, environment: dict[str, str], stdout: int | None,
    unreached_s: float = float("inf"),
) -> int:  # fmt: skip
    """Run `command`, a launcher of `flavour`, to its end; return the exit code; as launcher.start.

    The launcher has `unreached_s` to end after a rank's message of how the run ended.
    """
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
            preexec_fn=partial(signal_when_parent_ends, signal.SIGTERM),
        )
        printed = _Stdout(process.stdout) if process.stdout else None
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
            launcher = psutil.Process(process.pid)
            _kill([launcher, *launcher.children(recursive=True)])
            process.wait()
            if stopped is None:
                _write_stderr(_LEFT_BEHIND)
                process.returncode = LostRank.exit_code
        if stderr.has_told and kill_at == float("inf"):
            kill_at = time.monotonic() + unreached_s
    stderr.close()
    if stderr.has_lost_host and process.returncode == 0:
        process.returncode = LostRank.exit_code
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
            _kill(psutil.Process().children(recursive=True))
        signals.wait(0.1)


def _kill(processes: Sequence[psutil.Process]) -> None:
    """Kill processes that did not end when they were asked to, with their shared memory."""
    files = set().union(*(mapped_segments(each.pid) for each in processes))
    for each in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    unlink(files)


def _until(moment: float) -> float | None:
    return None if moment == float("inf") else max(0.0, moment - time.monotonic())


class _Stderr:
    """The launcher's stderr, on its way to this process's."""

    def __init__(self, process: subprocess.Popen[bytes], flavour: Flavour) -> None:
        self.open: list[Readable] = [process.stderr] if process.stderr else []
        self.has_told = False  # a rank's message of how the run ended went by
        self.has_lost_host = False
        self._lost_host = flavour.lost_host.encode()
        self._end = b""  # of what was read before: a text may come in two pieces
        self._filter = BannerFilter(flavour.banner, _write_stderr) if flavour.banner else None

    def read(self, ready: list[Readable]) -> None:
        for each in ready:
            data = os.read(each.fileno(), 65536)
            self._look(data)
            if not data:
                self.open = []
            elif self._filter:
                self._filter.feed(data)
            else:
                _write_stderr(data)

    def _look(self, data: bytes) -> None:
        seen, told = self._end + data, SPOKEN.encode()
        self.has_told |= told in seen
        self.has_lost_host |= bool(self._lost_host) and self._lost_host in seen
        self._end = seen[-max(len(told), len(self._lost_host)) :]

    def close(self) -> None:
        """Pass on what is left. Not to the end of the file: a rank may still hold the pipe open."""
        while ready := select.select(self.open, [], [], 0)[0]:
            self.read(ready)
        if self._filter:
            self._filter.close()


class BannerFilter:
    """Passes a launcher's stderr on to `write`, less each block between rules holding `phrase`.

    Everything outside such blocks is passed on as it comes, also half a line.
    """

    def __init__(self, phrase: str, write: Callable[[bytes], object]) -> None:
        self._phrase = phrase.encode()
        self._write = write
        self._rest = b""  # what may be the beginning of a rule
        self._block: bytes | None = None  # from a rule on

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._line(line + b"\n")
        if self._rest and self._block is None and not _RULE.startswith(self._rest.rstrip(b"\r")):
            self._write(self._rest)
            self._rest = b""

    def close(self) -> None:
        """Pass on what was kept back: the stream is at its end."""
        self._write((self._block or b"") + self._rest)
        self._block, self._rest = None, b""

    def _line(self, line: bytes) -> None:
        is_rule = line.strip() == _RULE
        if self._block is None:
            if is_rule:
                self._block = line
            else:
                self._write(line)
            return
        self._block += line
        if is_rule:
            if self._phrase not in self._block:
                self._write(self._block)
            self._block = None


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


class _Stdout:
    """The ranks' stdout, passed on by a thread: whoever reads this process's may be slow.

    What standard output does not take is read all the same, so that the ranks come to their end.
    """

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._error: OutputError | None = None
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self, code: int, seconds: float | None = None) -> None:
        """Wait until all is passed on, or `seconds`; `code` is what the ranks ended with.

        OutputError: not all of it was, and nothing worse has happened.
        """
        self._thread.join(seconds)
        if self._error is None:
            return
        if code == 0:
            raise self._error
        if not isinstance(self._error, ReaderGone):
            sys.stderr.write(f"{SPOKEN}{self._error}\n")

    def _run(self) -> None:
        while data := self._pipe.read(_CHUNK):
            if self._error is None:
                self._pass_on(data)

    def _pass_on(self, data: bytes) -> None:
        try:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        except OutputError as error:
            self._error = error
