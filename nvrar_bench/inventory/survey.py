"""Taking the inventory: a worker looks; a step at which it dies or stays away is a row too."""

from __future__ import annotations

import contextlib
import os
import platform
import queue
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from types import TracebackType

import nvrar_bench
from nvrar_bench import variables
from nvrar_bench.inventory import worker
from nvrar_bench.inventory.tables import Step, steps
from nvrar_bench.launch import again
from nvrar_bench.networks.table import Network
from nvrar_bench.problem import Problem
from nvrar_bench.results.inventory import Ability, Inventory, Row, settled

_COMMAND = again.command("nvrar_bench.inventory.worker")
_READY_S = 60.0  # importing Python files from a network's file system
_END_S = 2.0

Results = list[Row | Ability]


class _Gone(Exception):
    """The worker said nothing more; the text says what it did."""


def take(begin: Callable[[str], None], network: Network | None = None) -> Inventory:
    """Look at this machine, and for what `network` needs; `begin` hears what is looked at next."""
    command = (*_COMMAND, network.name) if network else _COMMAND
    found = list(results(steps(network), command, begin))
    return Inventory(
        version=nvrar_bench.__version__,
        host=platform.node(),
        taken_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        rows=tuple(one for one in found if isinstance(one, Row)),
        settings=variables.chosen(os.environ, names=variables.NAMES),
        abilities=settled([one for one in found if isinstance(one, Ability)]),
    )


def results(
    todo: Sequence[Step], command: Sequence[str], begin: Callable[[str], None]
) -> Iterator[Row | Ability]:
    """What comes of all of `todo`; `command` and the number of the first one start a worker."""
    done = 0
    while done < len(todo):
        with _Worker([*command, str(done)]) as looking:
            problem = looking.problem(_retry(command, 0))
            if problem:
                yield from (step.failed(problem) for step in todo[done:])
                return
            for step in todo[done:]:
                begin(step.name)
                done += 1
                try:
                    yield from looking.next(step.limit)
                except _Gone as gone:
                    yield step.failed(Problem(f"looking for it {gone}", _retry(command, done - 1)))
                    break


def _retry(command: Sequence[str], index: int) -> str:
    """How to see more of a step that the worker died of."""
    python, *worker = command
    return f"see where: {shlex.join([python, '-X', 'faulthandler', *worker, str(index)])}"


class _Worker:
    """A worker and what it says; it is killed with all that it started."""

    def __init__(self, command: Sequence[str]) -> None:
        self._said = os.fdopen(os.memfd_create("said"), "r+b")  # what libraries print
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._said,
            text=True, start_new_session=True,
        )  # fmt: skip
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> _Worker:
        return self

    def problem(self, fix: str) -> str | None:
        """Why it does not begin, and how to see more; None as soon as it does."""
        try:
            self._line(_READY_S)
        except _Gone as gone:
            return Problem(f"the process that looks {gone}", fix)
        return None

    def next(self, limit: float) -> Results:
        """What comes of the next step, which may take `limit` seconds.

        Raises:
            _Gone: nothing; the worker is of no more use.
        """
        return worker.read(self._line(limit))

    def _listen(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - for the type checker
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _line(self, limit: float) -> str:
        try:
            line = self._lines.get(timeout=limit)
        except queue.Empty:
            raise _Gone(f"took more than {limit:g} s") from None
        if line is None:
            raise _Gone(f"ended its process ({self._end()})")
        return line

    def _end(self) -> str:
        """How the process ended, and the last thing that was printed."""
        try:
            code = self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            code = 0
        how = signal.Signals(-code).name if code < 0 else f"code {code}"
        self._said.seek(0)
        lines = self._said.read()[-2000:].decode(errors="replace").strip().splitlines()
        return f"{how}: {lines[-1]}" if lines else how

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        # A process that hangs in a driver cannot be killed: it is left alone.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        self._said.close()
