"""MPI_Allreduce of the MPI library that started the job, through mpi4py."""

from __future__ import annotations

from typing import Any

from mpi4py import MPI

from nvrar_bench.backends.base import Array, Backend, Operation
from nvrar_bench.datatypes import DTYPES, OPS
from nvrar_bench.devices.native import address_of, mpi_library
from nvrar_bench.devices.operation import NativeCall
from nvrar_bench.plan import Case

_MOST_NATIVE = 2**31 - 1  # MPI_Allreduce counts by an int


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
        """Bind the buffers to MPI's datatype and operation."""
        operation = self.bind(case, send, recv)
        if case.count <= _MOST_NATIVE:
            in_place = case.placement == "in_place"
            source = int(MPI.IN_PLACE) % 2**64 if in_place else send.ctypes.data
            words = (source, recv.ctypes.data, case.count, *self._handles(case))
            operation.native = NativeCall(address_of(mpi_library().MPI_Allreduce), words)
        return operation

    def bind(self, case: Case, send: Any, recv: Any) -> Operation:
        """As `prepare`, of what mpi4py takes for a buffer, and to be launched from Python."""
        datatype, op = self._types(case)
        in_place = case.placement == "in_place"
        source = MPI.IN_PLACE if in_place else [send, case.count, datatype]
        return _Allreduce(self.world.comm, source, [recv, case.count, datatype], op)

    def _types(self, case: Case) -> tuple[MPI.Datatype, MPI.Op]:
        return getattr(MPI, str(DTYPES[case.dtype].mpi)), getattr(MPI, str(OPS[case.op].mpi))

    def _handles(self, case: Case) -> tuple[int, ...]:
        """Datatype, operation and communicator, as C has them."""
        return tuple(MPI._handleof(each) for each in (*self._types(case), self.world.comm))


class _Allreduce(Operation):
    variant = "allreduce"

    def __init__(self, comm: MPI.Comm, source: Any, target: Any, op: MPI.Op) -> None:
        self._call = comm.Allreduce
        self._arguments = (source, target, op)

    def launch(self) -> None:
        self._call(*self._arguments)

    def end_native(self, result: int) -> None:
        if result != MPI.SUCCESS:
            raise MPI.Exception(result)
