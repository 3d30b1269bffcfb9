"""MPI_Allreduce of the MPI library that started the job, through mpi4py."""

from __future__ import annotations

from typing import Any

from mpi4py import MPI

from nvrar_bench.backends.base import Array, Backend, Operation
from nvrar_bench.datatypes import DTYPES, OPS
from nvrar_bench.plan import Case


class MpiBackend(Backend):
    """One blocking MPI_Allreduce per call, on the buffers that every other backend gets."""

    name = "mpi"

    def unsupported(self, case: Case) -> str | None:
        """MPI has no 16-bit or 8-bit float, and no average."""
        if DTYPES[case.dtype].mpi is None:
            return f"MPI has no datatype for {case.dtype}"
        if OPS[case.op].mpi is None:
            return f"MPI has no {case.op} operation"
        return None

    def prepare(self, case: Case, send: Array, recv: Array) -> Operation:
        """Bind the buffers to MPI's datatype and operation.

        mpi4py asks an MPI.buffer for less than a NumPy array at each call.
        """
        datatype = getattr(MPI, str(DTYPES[case.dtype].mpi))
        op = getattr(MPI, str(OPS[case.op].mpi))
        in_place = case.placement == "in_place"
        target = [MPI.buffer.frombuffer(recv), case.count, datatype]
        source: Any = MPI.IN_PLACE
        if not in_place:
            source = [MPI.buffer.frombuffer(send), case.count, datatype]
        return _Allreduce(self.world.comm, source, target, op)


class _Allreduce(Operation):
    variant = "allreduce"

    def __init__(self, comm: MPI.Comm, source: Any, target: Any, op: MPI.Op) -> None:
        self._call = comm.Allreduce
        self._arguments = (source, target, op)

    def launch(self) -> None:
        self._call(*self._arguments)
