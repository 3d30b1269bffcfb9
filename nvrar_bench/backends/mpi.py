"""MPI_Allreduce of the MPI library that started the job, through mpi4py."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from mpi4py import MPI

from nvrar_bench.backends.base import Array, Backend, Operation
from nvrar_bench.datatypes import DTYPES, OPS
from nvrar_bench.devices.base import Device
from nvrar_bench.devices.native import mpi_library
from nvrar_bench.devices.operation import NativeCall, address_of
from nvrar_bench.plan import Case
from nvrar_bench.world import World

if TYPE_CHECKING:
    from nvrar_bench.devices.cuda.context import GpuContext
    from nvrar_bench.devices.cuda.device import CudaDevice

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
        native = None
        if case.count <= _MOST_NATIVE:
            in_place = case.placement == "in_place"
            # The constant may be negative; C reads the same 64 bits.
            source = int(MPI.IN_PLACE) % 2**64 if in_place else send.ctypes.data
            handles = (MPI._handleof(each) for each in (*self._types(case), self.world.comm))
            words = (source, recv.ctypes.data, case.count, *handles)
            native = NativeCall(address_of(mpi_library().MPI_Allreduce), words)
        return self.bind(case, send, recv, native)

    def bind(self, case: Case, send: Any, recv: Any, native: NativeCall | None = None) -> Operation:
        """As `prepare`, of what mpi4py takes for a buffer; launched from Python unless `native`."""
        datatype, op = self._types(case)
        in_place = case.placement == "in_place"
        source = MPI.IN_PLACE if in_place else [send, case.count, datatype]
        target = [recv, case.count, datatype]
        return _Allreduce(self.world.comm, source, target, op, native)

    def _types(self, case: Case) -> tuple[MPI.Datatype, MPI.Op]:
        return getattr(MPI, str(DTYPES[case.dtype].mpi)), getattr(MPI, str(OPS[case.op].mpi))


class _Allreduce(Operation):
    variant = "allreduce"

    def __init__(
        self, comm: MPI.Comm, source: Any, target: Any, op: MPI.Op, native: NativeCall | None
    ) -> None:
        self._call, self.native = comm.Allreduce, native
        self._arguments = (source, target, op)

    def launch(self) -> None:
        self._call(*self._arguments)

    def end_native(self, result: int) -> None:
        if result != MPI.SUCCESS:
            raise MPI.Exception(result)


_CUDA = 0  # MPICH's MPIX_GPU_SUPPORT_CUDA
_OFF = ("", "0", "no", "off", "false", "disable")

# Libraries that need a variable to take device pointers, whatever they were built with.
_BY_VARIABLE = {
    "CRAY MPICH": "MPICH_GPU_SUPPORT_ENABLED",
    "INTEL(R) MPI": "I_MPI_OFFLOAD",
    "MVAPICH2": "MV2_USE_CUDA",
}


@dataclass(frozen=True)
class Support:
    """Whether MPI takes device pointers, and who says so."""

    aware: bool
    reason: str


class Extension:
    """What the MPI library that mpi4py uses says of it; None where it has no such function.

    MPI must be initialised.
    """

    def __init__(self) -> None:
        self._library = mpi_library()

    def query_cuda(self) -> int | None:
        """MPIX_Query_cuda_support, of Open MPI and MVAPICH."""
        function = self._find("MPIX_Query_cuda_support")
        return None if function is None else int(function())

    def query_gpu(self) -> int | None:
        """MPIX_GPU_query_support for CUDA, of MPICH."""
        function = self._find("MPIX_GPU_query_support")
        supported = ctypes.c_int()
        if function is None or function(ctypes.c_int(_CUDA), ctypes.byref(supported)) != 0:
            return None
        return supported.value

    def _find(self, name: str) -> Callable[..., int] | None:
        return cast("Callable[..., int] | None", getattr(self._library, name, None))


def cuda_support(library: str, variables: Mapping[str, str], extension: Extension) -> Support:
    """Find out whether MPI takes device pointers.

    `library` is what MPI_Get_library_version says, `variables` the environment, by which some
    libraries are switched, `extension` what can be asked of the library.
    """
    for mark, name in _BY_VARIABLE.items():
        if mark in library.upper():
            value = variables.get(name, "")
            return Support(value.lower() not in _OFF, f"{name}={value}" if value else f"no {name}")
    for name, answer in (
        ("MPIX_Query_cuda_support", extension.query_cuda()),
        ("MPIX_GPU_query_support", extension.query_gpu()),
    ):
        if answer is not None:
            return Support(answer == 1, f"{name} says {'yes' if answer == 1 else 'no'}")
    return Support(False, "this MPI has no function that says so")


def common_support(everyone: list[Support]) -> Support:
    """What all ranks go by: MPI is aware if it is on every rank."""
    unaware = [f"rank {rank}: {one.reason}" for rank, one in enumerate(everyone) if not one.aware]
    if not unaware:
        return everyone[0]
    same = len(unaware) == len(everyone)
    return Support(False, everyone[0].reason if same else unaware[0])


class MpiCudaBackend(MpiBackend):
    """One blocking MPI_Allreduce per call, on GPU buffers; same types and ops as on the CPU."""

    def __init__(
        self, world: World, device: Device, timeout: float, support: Support | None = None
    ) -> None:
        super().__init__(world, device, timeout)
        if support is None:
            own = cuda_support(MPI.Get_library_version(), os.environ, Extension())
            support = common_support(world.comm.allgather(own))
        self.support = support

    def prepare(self, case: Case, send: Any, recv: Any) -> Operation:
        """Bind the buffers, DeviceArrays of shape (count,)."""
        context = cast("CudaDevice", self.device).context
        if self.support.aware:
            inner = self._on(case, send.address, recv.address)
            return _CudaAware(context, inner)
        host = int(context.calls.cuMemAllocHost(send.nbytes))
        inner = self._on(replace(case, placement="in_place"), host, host)
        return _Staged(context, inner, send, recv, host)

    def _on(self, case: Case, send: int, recv: int) -> Operation:
        """MPI's call on addresses, whatever memory they are in: MPI alone looks at it."""
        source, target = (MPI.buffer.fromaddress(at, case.size_bytes) for at in (send, recv))
        return self.bind(case, source, target)

    def facts(self) -> dict[str, Any]:
        return {"mpi_cuda_aware": self.support.aware, "mpi_cuda_aware_reason": self.support.reason}


class _CudaAware(Operation):
    variant = "cuda_aware"

    def __init__(self, context: GpuContext, inner: Operation) -> None:
        self._context, self._inner = context, inner

    def launch(self) -> None:
        self._context.drain("what precedes MPI_Allreduce")
        self._inner.launch()


class _Staged(Operation):
    variant = "staged"

    def __init__(
        self, context: GpuContext, inner: Operation, send: Any, recv: Any, host: int
    ) -> None:
        self._context, self._inner, self._host = context, inner, host
        self._send, self._recv = send, recv

    def launch(self) -> None:
        calls, host, nbytes = self._context.calls, self._host, self._send.nbytes
        stream = self._context.stream_handle
        calls.cuMemcpyDtoHAsync(host, self._send.address, nbytes, stream)
        self._context.drain("the copy to the host")
        self._inner.launch()
        calls.cuMemcpyHtoDAsync(self._recv.address, host, nbytes, stream)
        self._context.drain("the copy from the host")

    def close(self) -> None:
        self._context.calls.cuMemFreeHost(self._host)
