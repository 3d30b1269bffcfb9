"""The process between the launcher and a rank.

    mpirun ── supervisor of rank 0 ── rank 0
           └─ supervisor of rank 1 ── rank 1

A rank that is killed cannot say so, and each launcher answers in its own way: another exit code,
a banner, SIGKILL to all others at once. The supervisor is what the launcher knows. It turns a
killed rank into one message and exit code 4, and tells the supervisors of the same host first, so
that rank 0 can write its record and every rank ends by itself before the launcher steps in.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import replace

from nvrar_bench.errors import EXIT_CODES, SPOKEN, Interrupted, LostRank
from nvrar_bench.launch import progress
from nvrar_bench.launch.environment import expected_ranks, local_ranks, rank
from nvrar_bench.launch.meeting import end_turn, meet, take_turn
from nvrar_bench.launch.notices import MAX_BYTES, Notice, Siblings, job_name
from nvrar_bench.launch.processes import (
    STOPS,
    Signals,
    end_when_parent_ends,
    killed,
    signal_when_parent_ends,
)

GRACE_S = 2.0  # for a rank to write its record once it was told to end
_PATIENCE_S = 2.0  # ranks that fail together do not end in the same instant
# For the other ranks of the host to end before the launcher hears of the failure.
_HOLD_S = _PATIENCE_S + GRACE_S + 2.0

# The launcher's end, told by the kernel. Not SIGTERM: a launcher may fork ranks from a thread that
# ends early, which the kernel reports too, and that must not look like a request to stop.
_PARENT_ENDED = signal.SIGUSR2
_RETRY_S = 0.1  # between two tries to reach siblings that start late
_ALIKE_S = 2.0  # for lower ranks, which may start late, to fail for the same reason and say so
_ALL_STARTED_S = 10.0  # where the launcher does not say how many ranks this host has
_PROXY = "hydra_pmi_proxy"
_GOODBYE = b"cmd=finalize\n"  # version 1 of the PMI wire protocol
_ANSWER_S = 1.0  # for Hydra to answer a goodbye

_channel: socket.socket | None = None
_job: str | None = None


def channel() -> socket.socket | None:
    """Return this rank's connection to its supervisor; None where there is none."""
    return _channel


def wait_for_turn() -> None:
    """Wait until this rank may load packages, where ranks share cores; see meeting.py."""
    take_turn(job_name(), rank(os.environ), local_ranks(os.environ))


def meet_siblings() -> None:
    """Wait for the other ranks of this host, where they share cores; see meeting.py."""
    end_turn()
    if _job is not None:
        meet(_job, local_ranks(os.environ))


def tell(notice: Notice) -> bool:
    """Tell this rank's supervisor; return whether there is one to hear it."""
    try:
        return _channel is not None and bool(_channel.send(notice.encode()))
    except OSError:
        return False


def supervise(patience_s: float) -> None:
    """Fork: the child returns and goes on as the rank, the parent watches it and never returns.

    Of a rank that is stopped for `patience_s`, with no other on its host to see it, it says so.
    Call it after the arguments are parsed and before mpi4py or NumPy is imported: a fork copies
    neither threads nor a network connection.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    launcher = os.getppid() if expected_ranks(os.environ) is not None else None
    signals = Signals([*STOPS, signal.SIGCHLD, _PARENT_ENDED])
    supervisor = os.getpid()
    progress.open_page()
    job = job_name()
    gc.freeze()  # a collection would write to every object, and so copy what both processes share
    child = os.fork()
    if child:
        theirs.close()
        end_turn()
        if launcher is not None:
            signal_when_parent_ends(_PARENT_ENDED)
        os._exit(_Supervisor(child, launcher, signals, ours, patience_s).run())
    signals.close_in_child()
    ours.close()
    _become_rank(theirs, supervisor, job, own_session=launcher is not None)


def _become_rank(
    to_supervisor: socket.socket, supervisor: int, job: str, own_session: bool
) -> None:
    global _channel, _job
    if own_session:
        # A launcher kills the process group of the process it started. Out of that group a rank
        # outlives its supervisor long enough to write its record.
        os.setsid()
    end_when_parent_ends()
    if os.getppid() != supervisor:
        os._exit(LostRank.exit_code)
    to_supervisor.setblocking(False)
    _channel, _job = to_supervisor, job


class _Supervisor:
    """Watches over one rank."""

    def __init__(
        self, child: int, launcher: int | None, signals: Signals, to_rank: socket.socket,
        patience_s: float,
    ) -> None:  # fmt: skip
        self._child = child
        self._launcher = launcher
        self._signals = signals
        self._to_rank = to_rank
        self._to_rank.setblocking(False)
        self._rank = rank(os.environ)
        self._ranks = expected_ranks(os.environ) or 1
        self._siblings = Siblings(self._rank, self._ranks)
        self._local_ranks = local_ranks(os.environ)
        self._started = time.monotonic()
        self._stopped = False  # by the user or the launcher
        self._cause: Notice | None = None  # why another rank ended this one
        self._spoke = False
        self._failed: Notice | None = None  # what the rank said last
        self._heard: list[Notice] = []  # from siblings
        self._gone: set[int] = set()  # ranks of this host that have ended
        self._late: tuple[float, Notice] | None = None  # to be told to the rank at this time
        self._kill_at: float | None = None
        self._patience_s = patience_s
        self._stopped_until: float | None = None  # the rank may be, before anybody hears of it

    def run(self) -> int:
        """Watch the rank to its end; return the exit code for the launcher."""
        status = self._wait_for_rank()
        while self._to_rank.fileno() >= 0:  # it may have spoken and ended in the same moment
            self._on_rank_notice()
        if self._failed is not None:
            self._say_once(self._failed)
        notice = self._describe(status)
        if notice.exit_code == 0:
            self._siblings.tell(notice)
            return 0
        # The other ranks of this host need time to end: the launcher gives them none.
        self._tell_until(notice, _HOLD_S, lambda reached: self._all_gone(reached, notice))
        if len(self._gone) + 1 == self._ranks:
            _say_goodbye()  # else it is Hydra that ends the ranks of other hosts
        return notice.exit_code

    # ---- while the rank runs -------------------------------------------------------------------

    def _wait_for_rank(self) -> int:
        while True:
            sockets = (self._to_rank, self._siblings.socket)
            still_open = [each for each in sockets if each.fileno() >= 0]
            numbers, ready = self._signals.wait(self._timeout(), still_open)
            for number in numbers:
                self._on_signal(number)
            if self._to_rank in ready:
                self._on_rank_notice()
            if self._siblings.socket in ready:
                self._on_sibling_notices()
            self._look_whether_stopped()
            self._on_time()
            if os.waitid(os.P_PID, self._child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                return self._reap()

    def _reap(self) -> int:
        """Collect the rank, and end what it had started, such as a compiler."""
        if self._launcher is not None:
            # Before the rank is collected: its pid, the name of the group, cannot be another's yet.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child, signal.SIGKILL)
        return os.waitpid(self._child, 0)[1]

    def _timeout(self) -> float | None:
        times = [at for at in (self._kill_at, self._stopped_until) if at is not None]
        if self._late is not None:
            times.append(self._late[0])
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _on_signal(self, number: signal.Signals) -> None:
        if number in STOPS:
            self._stop(number)
        elif number == _PARENT_ENDED and os.getppid() != self._launcher:
            self._stop(signal.SIGTERM)

    def _stop(self, number: signal.Signals) -> None:
        if self._stopped:
            return  # the rank heard it the first time
        self._stopped = True
        os.kill(self._child, number)
        self._kill_soon()

    def _look_whether_stopped(self) -> None:
        """Another rank of the host says more of it; those of other hosts see nothing of it."""
        if self._local_ranks != 1 or self._ranks == 1:
            return
        how = os.WSTOPPED | os.WCONTINUED | os.WNOHANG
        try:
            changed = os.waitid(os.P_PID, self._child, how)
        except ChildProcessError:  # it has ended
            return
        if changed is not None:
            is_stopped = changed.si_code != os.CLD_CONTINUED
            self._stopped_until = time.monotonic() + self._patience_s if is_stopped else None

    def _on_rank_notice(self) -> None:
        try:
            data = self._to_rank.recv(MAX_BYTES)
        except OSError:
            data = b""
        notice = Notice.decode(data)
        if not data:
            self._to_rank.close()  # the rank has ended: SIGCHLD is on its way
        elif notice is not None and notice.kind == "failed":
            self._failed = notice  # the rank is ending
        elif notice is not None:
            self._speak(notice, self._siblings.tell(notice))
            self._kill_soon()

    def _on_sibling_notices(self) -> None:
        for notice in self._siblings.hear():
            self._note_end(notice)
            if self._cause is not None or notice.exit_code == 0:
                continue
            if notice.kind in ("failed", "finished"):
                self._late = self._late or (time.monotonic() + _PATIENCE_S, notice)
            else:
                self._end_rank(notice)

    def _note_end(self, notice: Notice) -> None:
        self._heard.append(notice)
        if notice.kind != "timed_out":  # that rank is still writing its record
            self._gone.add(notice.rank)

    def _end_rank(self, notice: Notice) -> None:
        self._cause = notice
        self._late = None
        if notice.kind == "timed_out":
            self._speak(notice, self._siblings.tell(notice, range(self._rank, self._ranks)))
        with contextlib.suppress(OSError):  # it has ended, or the deadline ends it
            self._to_rank.send(notice.encode())
        self._kill_soon()

    def _speak(self, notice: Notice, reached: set[int]) -> None:
        """Print the message where rank 0, which speaks for all, is elsewhere or has not begun."""
        if self._rank != 0 and not self._spoke and self._rank < min(reached, default=self._ranks):
            self._spoke = True
            _print(notice.message)

    def _kill_soon(self) -> None:
        self._kill_at = self._kill_at or time.monotonic() + GRACE_S

    def _on_time(self) -> None:
        now = time.monotonic()
        if self._late is not None and now >= self._late[0]:
            self._end_rank(self._late[1])
        if self._kill_at is not None and now >= self._kill_at:
            os.kill(self._child, signal.SIGKILL)
            self._kill_at = None
        if self._stopped_until is not None and now >= self._stopped_until:
            _print(progress.stopped(self._rank, self._child))
            self._stopped_until = None

    # ---- after its end -------------------------------------------------------------------------

    def _describe(self, status: int) -> Notice:
        """Return the rank's end as a notice, and print it where nobody else does."""
        where = f"rank {self._rank} on host {socket.gethostname()}"
        code = os.waitstatus_to_exitcode(status)
        if code == 0 and self._cause is not None and self._cause.kind == "timed_out":
            # It was told at its very end: the run has failed all the same.
            if self._rank == 0:
                _print(self._cause.message)
            code = self._cause.exit_code
        if code not in EXIT_CODES and code > 0 and not self._cause and not self._stopped:
            message = f"{where} was ended by a library, with exit code {code}; see what that said"
            lost = Notice("killed", self._rank, LostRank.exit_code, message)
            # `killed` tells the others that it was said.
            return lost if self._say_once(lost) else replace(lost, kind="finished")
        if code >= 0:
            ended = self._cause.exit_code if code and self._cause else code
            return Notice("finished", self._rank, ended, f"{where} ended with exit code {code}")
        if self._stopped:
            return Notice("finished", self._rank, Interrupted.exit_code, f"{where} was stopped")
        if self._cause is not None:
            if self._rank == 0 and self._cause.kind != "killed":
                _print(self._cause.message)  # the rank did not live to say it
            return Notice("finished", self._rank, self._cause.exit_code, f"{where} was ended")
        message = killed(where, -code)
        _print(message)
        return Notice("killed", self._rank, LostRank.exit_code, message)

    def _say_once(self, notice: Notice) -> bool:
        """Print the end of the rank, unless another rank of this host says the same of its own.

        Ranks often fail alike, within moments: the lowest of them speaks. Return whether it is
        this one.
        """
        if self._rank > 0 and not self._is_said(notice):
            failed = replace(notice, kind="failed")
            self._tell_until(failed, _ALIKE_S, lambda _: self._is_said(notice))
        is_said = self._is_said(notice)
        if not is_said:
            _print(f"{SPOKEN}{notice.message}")
            self._siblings.tell(replace(notice, kind="killed"))
        return not is_said

    def _is_said(self, notice: Notice) -> bool:
        """Whether another rank has said the same, or a lower one is about to."""
        return any(
            heard.says_as(notice)
            for heard in self._heard
            if heard.kind == "killed" or (heard.kind == "failed" and heard.rank < self._rank)
        )

    def _tell_until(
        self, notice: Notice, seconds: float, is_over: Callable[[set[int]], bool]
    ) -> None:
        """Tell the siblings, again and again for those that start late, and hear them meanwhile.

        `is_over` gets the ranks that were reached so far.
        """
        deadline = time.monotonic() + seconds
        reached: set[int] = set()
        while (left := deadline - time.monotonic()) > 0:
            reached |= self._siblings.tell(notice, reached)
            if is_over(reached):
                return
            self._signals.wait(min(left, _RETRY_S), [self._siblings.socket])
            for heard in self._siblings.hear():
                self._note_end(heard)

    def _all_gone(self, reached: set[int], notice: Notice) -> bool:
        if self._stopped or notice.exit_code == Interrupted.exit_code:
            return reached <= self._gone  # the launcher ended the others, also before they started
        if self._local_ranks is not None:
            return len(self._gone) + 1 >= self._local_ranks
        return time.monotonic() - self._started > _ALL_STARTED_S and reached <= self._gone


def _print(message: str) -> None:
    # One write: lines of several ranks do not mix.
    sys.stderr.write(f"{message}\n")


# ---- Hydra, the launcher of MPICH and Intel MPI -----------------------------------------------


def _say_goodbye() -> None:
    """Close the PMI session of a rank that has ended; does nothing under another launcher.

    Hydra sends SIGKILL to every rank as soon as one closes its PMI connection without having said
    goodbye, prints a banner, and returns its own exit code (9 or 255) or the rank's, whichever it
    sees first. Once every rank has ended there is nobody left to kill.
    """
    import psutil  # every rank's supervisor would load it, and hardly one needs it

    number, proxy = os.environ.get("PMI_FD", ""), psutil.Process().parent()
    if number.isdecimal() and proxy is not None and proxy.name() == _PROXY:
        with contextlib.suppress(OSError):  # the rank itself had said goodbye
            os.write(int(number), _GOODBYE)
            # Hydra dies of SIGPIPE where the answer finds nobody.
            if select.select([int(number)], [], [], _ANSWER_S)[0]:
                os.read(int(number), 256)
