"""What ends a rank from outside: a signal, a lost rank, a wait that takes too long.

The main thread may sit in MPI_Barrier or in a kernel and never come back, so a thread of its own
listens. It writes the record through `on_end` and ends the process; it calls no MPI function,
because MPI was not asked to allow threads and may be what hangs.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import NoReturn

from nvrar_bench.errors import Interrupted, LostRank, NvrarBenchError, TimedOut
from nvrar_bench.launch import progress
from nvrar_bench.launch.environment import rank
from nvrar_bench.launch.initialize import unlink_segments
from nvrar_bench.launch.notices import MAX_BYTES, Notice, ReportedLoss
from nvrar_bench.launch.processes import STOPS, Signals
from nvrar_bench.launch.progress import has_stopped_ranks, late_ranks
from nvrar_bench.launch.supervisor import GRACE_S, channel, tell

__all__ = ["Guard", "ReportedLoss"]

# How often the thread looks at the watch: a deadline is noticed at most this much late. Entering a
# watch must cost nothing, so it cannot wake the thread.
_TICK_S = 0.25
_LOOK_S = 1.0  # between two looks at the other ranks


class Guard:
    """Calls `on_end` once, from its own thread, when the rank must end; then ends the process.

    `on_end` gets Interrupted (SIGINT, SIGTERM, SIGHUP), TimedOut (a watch expired here or in
    another rank of this host), LostRank (another rank ended), or ReportedLoss (another rank was
    killed, and its supervisor has printed why). It has GRACE_S seconds; the process then exits
    with the error's exit code.

    Attributes:
        elsewhere: names ranks of other hosts, for the message of a wait that was in vain.
    """

    def __init__(self, on_end: Callable[[NvrarBenchError], None]) -> None:
        self._on_end = on_end
        self.elsewhere = ""
        self._watch: tuple[str, float, float] | None = None  # what, started, seconds
        self._patience_s: float | None = None  # without a watch, or where a rank is stopped
        self._looked = 0.0  # for ranks that are stopped
        self._rest: tuple[str, float, float] | None = None  # as `_watch`, between two watches
        self._signals: Signals | None = None
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._failed: NvrarBenchError | None = None  # by the main thread, which waits for its end
        # Taken by the first to end, `stop` or the thread; the thread never gives it back.
        self._ending = threading.Lock()
        self._has_ended = False

    def start(self) -> None:
        """Start to listen. To be called on the main thread."""
        self._signals = Signals(STOPS)
        self._thread = threading.Thread(target=self._listen, name="guard", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening. Does not return where the thread is ending the process already."""
        if self._thread is None or self._signals is None:
            return
        with self._ending:
            self._stopping = True
        self._signals.wake()
        self._thread.join()
        self._signals.close()
        self._thread = None

    def watch(self, what: str, seconds: float) -> Watch:
        """Return a context that ends the run with TimedOut when it is held for `seconds`.

        `what` completes "waited 30 s in ...", such as "the barrier before case 3".
        """
        return Watch(self, what, seconds)

    def have_patience(self, seconds: float) -> None:
        """End the run after `seconds` also where no watch says so: what may not be waited for.

        That is what lies between two watches, and, under a watch with a longer limit, another rank
        of this host that is stopped.
        """
        self._patience_s = seconds

    def renew(self) -> None:
        """Start the present watch anew: there was progress."""
        if self._watch is not None:
            what, _, seconds = self._watch
            self._watch = (what, time.monotonic(), seconds)
            progress.begin()

    def fail(self, error: NvrarBenchError) -> NoReturn:
        """End the run because of `error`, which this rank alone may know; never returns."""
        progress.give_up()
        self._failed = error
        if self._signals is not None:
            self._signals.wake()
        while True:
            time.sleep(_TICK_S)

    # ---- on the thread -------------------------------------------------------------------------

    def _listen(self) -> None:
        error = None
        while error is None and not self._stopping:
            error = self._wait()
        if error is not None:
            self._end(error)

    def _wait(self) -> NvrarBenchError | None:
        assert self._signals is not None  # noqa: S101 - for the type checker: start() set it
        supervisor = channel()
        numbers, ready = self._signals.wait(_TICK_S, [supervisor] if supervisor else [])
        if self._failed is not None:
            return _told(self._failed)
        if numbers:
            by = f"{numbers[0].name} from the user or the launcher"
            return Interrupted(f"the run was interrupted ({by})")
        if supervisor and ready:
            return _heard_from(supervisor)
        return self._expired()

    def _expired(self) -> NvrarBenchError | None:
        watch = self._watch or self._rest
        if watch is None:
            return None
        what, started, seconds = watch
        waited = time.monotonic() - started
        if waited < seconds and not self._is_in_vain(waited):
            return None
        # What is waited for may yet come, or fail because the others end; this rank ends now.
        self._ending.acquire()
        if self._stopping:
            self._ending.release()
            return None
        self._has_ended = True
        return _told(
            TimedOut(f"{_where()} waited {waited:.1f} s in {what}; the limit is {seconds:g} s"),
            self.elsewhere,
        )

    def _is_in_vain(self, waited: float) -> bool:
        """Whether a rank of this host is stopped; it may be looked for once a second."""
        now = time.monotonic()
        if self._patience_s is None or waited < self._patience_s or now - self._looked < _LOOK_S:
            return False
        self._looked = now
        return has_stopped_ranks()

    def _end(self, error: NvrarBenchError) -> None:
        if not self._has_ended:
            self._ending.acquire()  # for good: from here on nobody else ends this run
        if self._stopping:
            self._ending.release()
            return
        threading.Thread(target=_exit_later, args=(error.exit_code,), daemon=True).start()
        try:
            unlink_segments()
            self._on_end(error)
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            # Not sys.exit: the main thread may hang in C, and MPI would be finalised.
            os._exit(error.exit_code)


class Watch:
    """A stretch of work with a deadline, at most one at a time; an inner one replaces the outer."""

    __slots__ = ("_guard", "_outer", "_seconds", "_what")

    def __init__(self, guard: Guard, what: str, seconds: float) -> None:
        self._guard = guard
        self._what = what
        self._seconds = seconds
        self._outer: tuple[str, float, float] | None = None

    def __enter__(self) -> None:
        self._outer = self._guard._watch
        self._guard._watch = (self._what, time.monotonic(), self._seconds)
        progress.begin(self._what)

    def __exit__(self, *_: object) -> None:
        guard = self._guard
        if self._outer is None and guard._patience_s is not None:
            guard._rest = (f"what follows {self._what}", time.monotonic(), guard._patience_s)
        guard._watch = self._outer


def _told(error: NvrarBenchError, elsewhere: str = "") -> NvrarBenchError:
    """Say which rank is late, and let the other ranks of this host know, through the supervisors.

    Another rank that has given up meanwhile, and may have ended since, has looked before.
    """
    late, supervisor = late_ranks(elsewhere), channel()
    if supervisor and select.select([supervisor], [], [], 0)[0]:
        heard = _heard_from(supervisor)
        if heard is not None:
            return heard
    if late:
        error = type(error)(f"{error}; {late}")
    tell(Notice("timed_out", rank(os.environ), error.exit_code, str(error)))
    return error


def _where() -> str:
    return f"rank {rank(os.environ)} on host {socket.gethostname()}"


def _heard_from(supervisor: socket.socket) -> NvrarBenchError | None:
    try:
        data = supervisor.recv(MAX_BYTES)
    except OSError:
        return None
    if not data:
        # Launchers kill without a word, and the supervisor first, when another rank is lost.
        return LostRank(f"the launcher killed {_where()}: another rank was lost")
    notice = Notice.decode(data)
    return notice.error() if notice else None


def _exit_later(code: int) -> None:
    time.sleep(GRACE_S)
    os._exit(code)
