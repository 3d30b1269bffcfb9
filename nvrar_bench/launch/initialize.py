"""MPI_Init and MPI_Finalize, without keeping Python's lock or leaving shared memory behind.

mpi4py initialises MPI while it is imported and keeps the lock of the interpreter meanwhile. Since
MPI_Init waits for every rank, a rank that never comes would block all threads of this one, the
guard's included. Through ctypes the lock is free. The same holds for MPI_Finalize.

A file in /dev/shm that loses its name lives on until the last process unmaps it, so what every rank
has attached can be unlinked while it is in use.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

from nvrar_bench.errors import NvrarBenchError, Problem, Unavailable
from nvrar_bench.launch import progress
from nvrar_bench.launch.environment import local_ranks

_SHM = "/dev/shm/"  # noqa: S108 - read from the map of this process, never made up

# Segments that keep their name until MPI_Finalize and that no launcher removes. MPICH attaches all
# ranks of a node in MPI_Init and does not mind when its own unlink at the end finds nothing. Open
# MPI's sm_segment.* may be attached later; its launcher removes them.
_KEPT_UNTIL_FINALIZE = ("mpich_shm_",)

_SET_TIMER_SLACK, _GET_TIMER_SLACK = 29, 30  # prctl(2)
_SLACK_NS = 20_000_000


def load_mpi(*, finalize: bool = True) -> None:
    """Import mpi4py.MPI without initialising MPI. To be called before anything else imports it.

    MPI is finalised at exit, if it was initialised by then and unless `finalize` is false.
    Unavailable where mpi4py finds no MPI library.
    """
    import mpi4py

    mpi4py.rc.initialize = False
    mpi4py.rc.finalize = finalize
    try:
        from mpi4py import MPI  # noqa: F401
    except (ImportError, RuntimeError) as error:
        raise Unavailable(no_library(error)) from None


def initialize_mpi() -> None:
    """Initialise MPI for mpi4py; it is finalised at exit as usual. A second call does nothing.

    Errors of MPI_COMM_WORLD are raised as MPI.Exception, as mpi4py sets it up itself.
    """
    load_mpi()
    from mpi4py import MPI

    if MPI.Is_initialized():
        return
    provided = ctypes.c_int()
    # The extension module is linked with the MPI library that mpi4py chose: it leads to the symbol.
    init = ctypes.CDLL(MPI.__file__).MPI_Init_thread
    progress.begin("MPI_Init")
    crowded = _shares_cores()
    level = MPI.THREAD_MULTIPLE if crowded else MPI.THREAD_FUNNELED
    with _long_naps() if crowded else contextlib.nullcontext():
        code = init(None, None, ctypes.c_int(level), ctypes.byref(provided))
    if code != MPI.SUCCESS:
        raise NvrarBenchError(f"MPI_Init_thread failed: {MPI.Get_error_string(code)}")
    for communicator in (MPI.COMM_SELF, MPI.COMM_WORLD):
        communicator.Set_errhandler(MPI.ERRORS_RETURN)


@contextlib.contextmanager
def _long_naps() -> Iterator[None]:
    """Let the kernel prolong the naps of this thread, as far as it can.

    MPI_Init of Open MPI wakes up every 0.1 ms while it waits: hundreds of ranks that share a few
    cores then take them from those that they wait for.
    """
    prctl = ctypes.CDLL(None).prctl
    slack_ns = prctl(_GET_TIMER_SLACK, 0, 0, 0, 0)
    prctl(_SET_TIMER_SLACK, ctypes.c_ulong(_SLACK_NS), 0, 0, 0)
    try:
        yield
    finally:
        prctl(_SET_TIMER_SLACK, ctypes.c_ulong(slack_ns), 0, 0, 0)


def _shares_cores() -> bool:
    """True where this host has more ranks than cores for them.

    Only the main thread calls MPI, and more than THREAD_FUNNELED puts locks into what is measured.
    But MPICH gives its core to another rank while it waits only where many threads may call it:
    else each call of ranks that share cores takes seconds.
    """
    return (local_ranks(os.environ) or 1) > len(os.sched_getaffinity(0))


def finalize_mpi() -> None:
    """Finalise MPI, if it was initialised and is not finalised; waits for every rank.

    Other threads run meanwhile, which they do not while mpi4py does it at exit.
    """
    from mpi4py import MPI

    if MPI.Is_initialized() and not MPI.Is_finalized():
        progress.begin("MPI_Finalize")
        ctypes.CDLL(MPI.__file__).MPI_Finalize()


def no_library(error: Exception) -> str:
    """Return the message for an mpi4py that cannot load an MPI library."""
    first_line = str(error).partition("\n")[0]
    return Problem(
        f"mpi4py finds no MPI library ({first_line})",
        'pip install "nvrar-bench[cpu]", which installs Open MPI and its mpirun',
        ". Remedy: ",
    )


# ---- shared memory -----------------------------------------------------------------------------


def mapped_segments(process: int | str = "self") -> set[Path]:
    """Return the named files below /dev/shm that `process` has mapped."""
    try:
        lines = Path(f"/proc/{process}/maps").read_text().splitlines()
    except OSError:
        return set()
    names = (line.split(maxsplit=5)[5] for line in lines if _SHM in line)
    return {Path(name) for name in names if name.startswith(_SHM) and "(deleted)" not in name}


def unlink(paths: set[Path]) -> None:
    """Unlink `paths`, as far as they are there and may be unlinked."""
    for path in paths:
        with contextlib.suppress(OSError):  # another rank was first, or it belongs to somebody else
            path.unlink()


def unlink_world_segments(ranks: int) -> None:
    """Unlink what MPI_Init leaves in /dev/shm until MPI_Finalize; MPI_COMM_WORLD has `ranks` ranks.

    Call it on every rank after MPI_Init and a barrier: every rank has attached its segments then,
    and a job that is killed later leaves nothing behind.
    """
    alone = ranks == 1  # with no launcher to remove anything, and nobody to attach
    mapped = mapped_segments()
    unlink({path for path in mapped if alone or path.name.startswith(_KEPT_UNTIL_FINALIZE)})


def unlink_segments() -> None:
    """Unlink every file in /dev/shm that this process has mapped: for a job that ends badly."""
    unlink(mapped_segments())
