"""`nvrar-bench` of which one rank goes wrong: `broken.py MOMENT FAULT RANK sweep ...`.

MOMENT is one of `MOMENTS`, FAULT one of `ACTS`. The moment `kernel` is in the kernel itself: see
`spoil_kernels`. The file that $BROKEN_AT names is made when it happens.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

KERNELS = Path(__file__).parents[2] / "kernels"
SLOW_S = 1.0  # well below any --timeout that the tests give
ITERS = 5  # of --iters: as many turns of timed calls, in each of two cases
ALL = -1  # for RANK
RULER = 2  # turns before those: what the measuring costs


def fail() -> None:
    raise RuntimeError("two\nlines")


def prints() -> None:
    """As a library does, in Python and in C."""
    print("printed in Python", flush=True)
    library = ctypes.CDLL(None)
    library.puts(b"printed in C")
    library.fflush(None)


FAULTS: dict[str, Callable[[], object]] = {
    "never": lambda: time.sleep(1e6),
    "stopped": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "segfault": lambda: ctypes.string_at(0),
    "raises": fail,
    "slow": lambda: time.sleep(SLOW_S),
}
ACTS = {**FAULTS, "prints": prints}  # which is no fault: test_prints.py

# Each is given what to do on the rank that goes wrong, once this process is a rank and mpi4py is
# loaded, but not MPI begun.


def at_start_up(act: Callable[[], object]) -> None:
    from nvrar_bench.run import as_rank

    as_rank.join_world = _before(as_rank.join_world, act)


def at_opening(act: Callable[[], object]) -> None:
    from nvrar_bench.run import stage_runner

    stage_runner.open_backends = _before(stage_runner.open_backends, act)


def in_the_timed_loop(act: Callable[[], object]) -> None:
    """Between the gate and the call, in the second turn of the second case."""
    from nvrar_bench.devices.native import CpuTimer

    turns = itertools.count()
    time_calls = CpuTimer.time_calls

    def late(self: Any, operation: Any, prepare: Any, gate: Callable[[], None], *rest: Any) -> None:
        here = next(turns) == RULER + ITERS + 1
        time_calls(self, operation, prepare, _Spoiled(gate, act) if here else gate, *rest)

    CpuTimer.time_calls = late


def after_the_last_case(act: Callable[[], object]) -> None:
    from nvrar_bench.devices.cpu import CpuDevice

    CpuDevice.close = _before(CpuDevice.close, act)


def before_finalize(act: Callable[[], object]) -> None:
    from nvrar_bench.run import as_rank

    def later() -> None:
        time.sleep(1.0)  # rank 0 closes the record meanwhile
        act()

    as_rank.finalize_mpi = _before(as_rank.finalize_mpi, later)


def in_the_kernel(act: Callable[[], object]) -> None:
    """The kernel looks at $BROKEN itself."""


MOMENTS: dict[str, Callable[[Callable[[], object]], None] | None] = {
    "import": None,  # before anything else
    "start-up": at_start_up,
    "opening": at_opening,
    "kernel": in_the_kernel,
    "timed": in_the_timed_loop,
    "last": after_the_last_case,
    "finalize": before_finalize,
}


def _before(function: Callable[..., Any], act: Callable[[], object]) -> Callable[..., Any]:
    def spoiled(*arguments: Any, **named: Any) -> Any:
        act()
        return function(*arguments, **named)

    return spoiled


class _Spoiled:
    """A gate behind which something happens."""

    def __init__(self, gate: Any, act: Callable[[], object]) -> None:
        self._gate, self._act = gate, act

    def __call__(self) -> None:
        self._gate()
        self._act()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._gate, name)


# What the kernel does where the environment says so, in its first call of the second case: after
# the ranks have met, so that the others wait for the reduced slice.
PLACE = "bool reduce_scatter(const Window& window) {"
COUNT = 512  # of float32, 2K
IN_KERNEL = """
        static bool is_done = false;
        const char* how = getenv("BROKEN");
        if (how && arguments.count == COUNT && arguments.rank == (u64)atoi(how) && !is_done) {
            is_done = true;
            if (const char* mark = getenv("BROKEN_AT")) close(creat(mark, 0600));
            if (strstr(how, "never")) for (;;) pause();
            if (strstr(how, "stopped")) raise(SIGSTOP);
            if (strstr(how, "killed")) raise(SIGKILL);
            if (strstr(how, "segfault")) raise(SIGSEGV);
            if (strstr(how, "slow")) usleep(SLOW_US);
        }
""".replace("COUNT", str(COUNT)).replace("SLOW_US", str(round(SLOW_S * 1e6)))
HEADERS = ("csignal", "cstdlib", "cstring", "fcntl.h", "unistd.h")


def spoil_kernels(folder: Path) -> None:
    """Write a copy of the kernels in which `signal` heeds $BROKEN, "RANK FAULT"."""
    shutil.copytree(KERNELS, folder)
    source = folder / "signal.cuh"
    text = source.read_text()
    assert text.count(PLACE) == 1
    includes = "".join(f"#include <{name}>\n" for name in HEADERS)
    text = text.replace(PLACE, PLACE + IN_KERNEL)
    source.write_text(text.replace('#include "span.cuh"', f'{includes}#include "span.cuh"'))


def main(moment: str, fault: str, victim: int) -> None:
    from nvrar_bench.launch.environment import rank

    def act() -> None:
        if victim in (rank(os.environ), ALL):
            if mark := os.environ.get("BROKEN_AT"):
                Path(mark).touch()
            ACTS[fault]()

    spoil = MOMENTS[moment]
    if spoil is None:
        act()
    if moment == "kernel":
        os.environ["BROKEN"] = f"{victim} {fault}"

    from nvrar_bench.__main__ import main as command
    from nvrar_bench.cli import execute as commands
    from nvrar_bench.launch.initialize import load_mpi

    def spoiled_execute(make_settings: Callable[[], Any], *how: Any) -> None:
        def settings() -> Any:
            made = make_settings()
            if spoil is not None:
                load_mpi()
                spoil(act)
            return made

        execute(settings, *how)

    execute, commands.execute = commands.execute, spoiled_execute
    command()


if __name__ == "__main__":
    arguments = sys.argv[1:4]
    del sys.argv[1:4]
    main(arguments[0], arguments[1], int(arguments[2]))
