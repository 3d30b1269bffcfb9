"""Taking the inventory: a worker looks; a step at which it dies or hangs is a row too.

    python .../nvrar_bench/launch/again.py nvrar_bench.inventory.survey [NETWORK] FIRST

The worker writes a line for each step, so that its reader knows which one it died of. It loads
libraries that may print, hang, or end their process. What they print goes to stderr.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import select
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from functools import partial
from typing import TextIO

import msgspec

import nvrar_bench
from nvrar_bench import networks, variables
from nvrar_bench.backends import NAMES as BACKENDS
from nvrar_bench.documents.inventory import Ability, Inventory, Row, settled
from nvrar_bench.errors import Problem
from nvrar_bench.inventory import Probe, Question, cuda, mpi, network, system
from nvrar_bench.launch import again
from nvrar_bench.launch.processes import signal_when_parent_ends
from nvrar_bench.networks import Network
from nvrar_bench.streams import set_apart

_COMMAND = again.command("nvrar_bench.inventory.survey")
_READY_S = 60.0  # importing Python files from a network's file system
_END_S = 2.0

READY = "ready"

# In the order in which they are shown.
_SHOWN = "package, Python, MPI, cpu device, cuda device, NCCL, NVSHMEM, network, launchers"
_GROUPS = _SHOWN.split(", ")
PROBES: tuple[Probe, ...] = tuple(
    sorted(
        (probe for room in (system, mpi, cuda, network) for probe in room.PROBES),
        key=lambda probe: _GROUPS.index(probe.group),
    )
)


def _backend(name: str, device: str) -> str | None:
    from nvrar_bench.backends import registry

    return registry.BACKENDS[name].lacks(device)


_ASK_DEVICE = {"cpu": system.able, "cuda": cuda.able}
QUESTIONS = tuple(
    Question(device, backend, partial(_backend, backend, device) if backend else ask)
    for device, ask in _ASK_DEVICE.items()
    for backend in (None, *BACKENDS)
)

Step = Probe | Question
STEPS: tuple[Step, ...] = (*PROBES, *QUESTIONS)


def steps(chosen: Network | None = None) -> tuple[Step, ...]:
    """All steps; what the `chosen` network needs, if one is, before what can run."""
    if chosen is None:
        return STEPS
    return (*PROBES, *network.probes(chosen.name, chosen.needs), *QUESTIONS)


class _Gone(Exception):
    """The worker said nothing more; the text says what it did."""


def take(begin: Callable[[str], None], chosen: Network | None = None) -> Inventory:
    """Look at this machine, and for what a `chosen` network needs; `begin` hears what is next."""
    command = (*_COMMAND, chosen.name) if chosen else _COMMAND
    found = list(results(steps(chosen), command, begin))
    return Inventory.of(
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
        with contextlib.closing(_Worker([*command, str(done)])) as worker:
            try:
                worker.line(_READY_S)
            except _Gone as gone:
                problem = Problem(f"the process that looks {gone}", _retry(command, 0))
                yield from (step.failed(problem) for step in todo[done:])
                return
            for step in todo[done:]:
                begin(step.name)
                # Before the look: where a worker dies of it, the next one begins behind it.
                done += 1
                try:
                    yield from _read(worker.line(step.limit))
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
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._said,
            bufsize=0,
            start_new_session=True,
        )

    def line(self, limit: float) -> bytes:
        """The next line, within `limit` seconds.

        _Gone: there is none; the worker is of no more use.
        """
        out = self._process.stdout
        assert out is not None  # noqa: S101 - for the type checker
        if not select.select([out], [], [], limit)[0]:
            raise _Gone(f"took more than {limit:g} s")
        line = out.readline()
        if not line:
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
        # Only the end: a library may have printed without limit.
        lines = self._said.read()[-2000:].decode(errors="replace").strip().splitlines()
        return f"{how}: {lines[-1]}" if lines else how

    def close(self) -> None:
        """Kill it; a process that hangs in a driver cannot be killed, and is left alone."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        if self._process.stdout:
            self._process.stdout.close()
        self._said.close()


# ---- the process that looks ---------------------------------------------------------------------


def _serve(todo: Sequence[Step], out: TextIO) -> None:
    """Take all of `todo`, and write a line as soon as one is done."""
    print(READY, file=out, flush=True)
    for step in todo:
        print(json.dumps([one.to_json() for one in step.take()]), file=out, flush=True)


def _read(line: bytes) -> list[Row | Ability]:
    """What a line of the worker holds."""
    return [
        msgspec.convert(one, Row) if "group" in one else msgspec.convert(one, Ability)
        for one in json.loads(line)
    ]


def _forbid_mpi_init() -> None:
    """An import of mpi4py.MPI from here on does not initialise MPI."""
    try:
        import mpi4py
    except ImportError:  # a row says so
        return
    mpi4py.rc.initialize = mpi4py.rc.finalize = False


def main(first: int, todo: Sequence[Step] = STEPS) -> None:
    """Take all steps from `first` on, and end without asking the libraries."""
    signal_when_parent_ends(signal.SIGKILL)
    out = os.fdopen(set_apart(), "w")
    _forbid_mpi_init()
    _serve(todo[first:], out)
    # Destructors of drivers may hang or crash where a library is broken, after all is said.
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[-1]), steps(*map(networks.read, sys.argv[1:-1])))
