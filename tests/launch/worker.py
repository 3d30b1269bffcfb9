"""A rank for the tests: supervised and guarded, and ending in the way its arguments name.

    worker.py FOLDER HOW RANK

RANK does HOW while the other ranks wait for it in MPI_Barrier. FOLDER/rank-R gets what on_end was
told, as rank 0 of a sweep writes its record; FOLDER/pid-R the pids of the rank and its supervisor;
FOLDER/shm-R the files in /dev/shm that MPI has mapped.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from pathlib import Path

from nvrar_bench.errors import NvrarBenchError
from nvrar_bench.guard import Guard, ReportedLoss
from nvrar_bench.launch.environment import rank
from nvrar_bench.launch.initialize import initialize_mpi, mapped_segments, unlink_world_segments
from nvrar_bench.launch.supervisor import supervise

FOLDER, HOW, WHO = Path(sys.argv[1]), sys.argv[2].partition("="), int(sys.argv[3])
ME = rank(os.environ)


def on_end(error: NvrarBenchError) -> None:
    (FOLDER / f"rank-{ME}").write_text(f"{type(error).__name__}: {error}\n")
    if ME == 0 and not isinstance(error, ReportedLoss):
        print(error, file=sys.stderr)


def main() -> None:
    supervise(patience_s=60)
    act("early")
    guard = Guard(on_end)
    guard.start()
    with guard.watch("MPI_Init", 60):
        initialize_mpi()
        from mpi4py import MPI

        world = MPI.COMM_WORLD
        world.Barrier()
        (FOLDER / f"shm-{ME}").write_text("\n".join(map(str, mapped_segments())))
        unlink_world_segments(world.size)
        world.Barrier()
    (FOLDER / f"pid-{ME}").write_text(f"{os.getpid()} {os.getppid()}")
    with guard.watch("a barrier that never ends", 0.5 if HOW[0] == "hang" else 60):
        act("late")
        if HOW[0] != "agree":
            world.Barrier()
    guard.stop()
    if HOW[0] == "agree":  # as after a wrong result that all ranks know of
        sys.exit(int(HOW[2]))


def act(when: str) -> None:
    if ME == WHO and when == ("early" if HOW[0].startswith("early-") else "late"):
        ACTS[HOW[0].removeprefix("early-")](HOW[2])


def leave(code: str) -> None:
    os._exit(int(code))


def kill(name: str) -> None:
    os.kill(os.getpid(), signal.Signals[name])


def segfault(_: str) -> None:
    ctypes.string_at(0)


def wait(_: str) -> None:
    time.sleep(60)


def hold_the_lock(_: str) -> None:
    ctypes.PyDLL(None).sleep(60)


def nothing(_: str) -> None:
    pass


ACTS = {
    "exit": leave,
    "kill": kill,
    "segfault": segfault,
    "wait": wait,
    "hang": wait,
    "lock": hold_the_lock,
    "agree": nothing,
    "pass": nothing,
}

if __name__ == "__main__":
    main()
