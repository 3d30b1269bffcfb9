"""MPI_Init and MPI_Finalize, without keeping Python's lock.

mpi4py initialises MPI while it is imported and keeps the lock of the interpreter meanwhile. Since
MPI_Init waits for every rank, a rank that never comes would block all threads of this one, the
guard's included. Through ctypes the lock is free. The same holds for MPI_Finalize.
"""

from __future__ import annotations

import ctypes

from nvrar_bench.errors import NvrarBenchError, Unavailable
from nvrar_bench.launch import progress
from nvrar_bench.problem import Problem


def load_mpi() -> None:
    """Import mpi4py.MPI without initialising MPI. To be called before anything else imports it.

    Raises:
        Unavailable: mpi4py finds no MPI library.
    """
    import mpi4py

    mpi4py.rc.initialize = False
    mpi4py.rc.finalize = True
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
    # Only the main thread calls MPI. More than that would put locks into what is measured.
    provided = ctypes.c_int()
    # The extension module is linked with the MPI library that mpi4py chose: it leads to the symbol.
    init = ctypes.CDLL(MPI.__file__).MPI_Init_thread
    progress.begin("MPI_Init")
    code = init(None, None, ctypes.c_int(MPI.THREAD_FUNNELED), ctypes.byref(provided))
    if code != MPI.SUCCESS:
        raise NvrarBenchError(f"MPI_Init_thread failed: {MPI.Get_error_string(code)}")
    for communicator in (MPI.COMM_SELF, MPI.COMM_WORLD):
        communicator.Set_errhandler(MPI.ERRORS_RETURN)


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
        'pip install "nvrar-bench[cpu]", which brings Open MPI and its mpirun',
        ". Remedy: ",
    )
