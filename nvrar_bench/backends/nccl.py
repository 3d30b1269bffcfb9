"""NCCL's all-reduce on GPU buffers, through nccl4py.

Variants: `plain`, and `window` on symmetric buffers, which NCCL then knows as registered windows
(ncclCommWindowRegister). NCCL has windows between GPUs that reach each other's memory only; in all
other places symmetric buffers run as `plain`, and a warning in the result says why.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from nvrar_bench.backends import nccl_library
from nvrar_bench.backends.base import Backend, Operation
from nvrar_bench.backends.nccl_library import (
    IN_PROGRESS,
    OPS,
    SUCCESS,
    TYPES,
    NcclError,
    NcclLibrary,
    first_problem,
    spelled,
)
from nvrar_bench.bounded import bounded
from nvrar_bench.datatypes import DTYPES
from nvrar_bench.devices.base import Device
from nvrar_bench.devices.cuda import driver
from nvrar_bench.errors import NvrarBenchError, Problem, TimedOut, Unavailable
from nvrar_bench.plan import Case
from nvrar_bench.world import World

if TYPE_CHECKING:
    from nvrar_bench.devices.cuda.context import GpuContext
    from nvrar_bench.devices.cuda.device import CudaDevice

_FLOAT8 = ("float8_e4m3", "float8_e5m2")
_FLOAT8_SINCE = 22400
_FLOAT8_CAPABILITY = 90  # "sm_90"
_WINDOWS_SINCE = 22700
_NO_WINDOWS_HERE = (
    "NCCL has none between these GPUs (all of them must reach each other's memory, and neither "
    "NCCL_WIN_ENABLE nor NCCL_CUMEM_ENABLE may be 0)"
)


def missing(device: str = "cpu", ranks_per_gpu: int = 1) -> str | None:
    """The first thing that NCCL lacks here, and what to do about it; None if nothing."""
    # First what cannot be installed by pip: without a GPU, nccl4py would not help.
    if driver.missing_library():
        return "NCCL needs NVIDIA GPUs, and their driver (libcuda.so.1) is not found"
    if importlib.util.find_spec("nccl") is None:
        return Problem("nccl4py is not installed", driver.install_command())
    if device != "cuda":
        return Problem(
            "NCCL needs the cuda device (--device cuda)", "on the cpu use --backend mpi,nvrar", "; "
        )
    problem = nccl_library.library_problem()
    return problem or nccl_library.sharing_problem(NcclLibrary().version(), ranks_per_gpu)


class NcclBackend(Backend):
    """NCCL on the GPUs of one world; opening and closing it are collective and bounded.

    Symmetric blocks that were used here must live until `close`. Where NCCL cannot connect the
    ranks all raise Unavailable; where one does not come, the others TimedOut.
    """

    name = "nccl"

    def __init__(
        self, world: World, device: Device, timeout: float, library: NcclLibrary | None = None
    ) -> None:
        super().__init__(world, device, timeout)
        self._cuda = cast("CudaDevice", device)
        self._library = library or NcclLibrary()
        own = (self._library.version(), int(self._cuda.gpu.arch.removeprefix("sm_").rstrip("af")))
        # The oldest NCCL and GPU decide for all: a case that one rank skips would hang the others.
        everyone = world.comm.allgather(own)
        self._version = min(number for number, _ in everyone)
        self._capability = min(capability for _, capability in everyone)
        self._no_window: str | None = None
        self._link = Link(self._library)
        self._connect()

    def unsupported(self, case: Case) -> str | None:
        """NCCL has every type and op; float8 needs a recent NCCL and GPU."""
        if case.dtype not in TYPES or case.op not in OPS:
            return f"NCCL has no {case.op} of {case.dtype}"
        if case.dtype in _FLOAT8 and self._version < _FLOAT8_SINCE:
            return f"NCCL {spelled(self._version)} has no {case.dtype}; 2.24 and newer have"
        if case.dtype in _FLOAT8 and self._capability < _FLOAT8_CAPABILITY:
            return f"NCCL reduces {case.dtype} on sm_90 and newer, not on sm_{self._capability}"
        if self._rounds_the_mean(case):
            return (
                f"NCCL's avg multiplies by 1/{self.world.size} before it adds, which rounds: "
                "exact inputs prove nothing; use --check-mode rounding"
            )
        return None

    def _rounds_the_mean(self, case: Case) -> bool:
        size = self.world.size
        inexact = DTYPES[case.dtype].is_float and size & (size - 1)
        return bool(inexact and case.op == "avg" and case.check_mode == "exact")

    def prepare(self, case: Case, send: Any, recv: Any) -> Operation:
        """Bind the buffers, DeviceArrays of shape (count,); registers their blocks. Collective."""
        reason = self._window_problem(send, recv) if case.buffers == "symmetric" else ""
        arguments = (send.address, recv.address, case.count, TYPES[case.dtype], OPS[case.op])
        return NcclAllReduce(self._link, arguments, self._cuda.context, reason)

    def facts(self) -> dict[str, Any]:
        return nccl_library.facts(self._version, os.environ)

    def abort(self) -> None:
        """End it after a failure; local, bounded, never raises."""
        comm, self._link.comm = self._link.comm, None
        self._link.windows.clear()
        if comm is not None:
            with contextlib.suppress(NvrarBenchError):
                self._bounded("aborting NCCL", partial(self._library.abort, comm))

    def close(self) -> None:
        """End it: collective; after a failure, by aborting."""
        if self._link.comm is None:
            return
        try:
            if not self._link.failed:
                self._together("stopping NCCL", self._stop)
                self._link.comm = None
        finally:
            self.abort()

    # ---- the communicator ----------------------------------------------------------------------

    def _connect(self) -> None:
        identity = self._identity()

        def connect() -> None:
            world = self.world
            self._link.comm = self._library.connect(world.size, world.rank, identity)

        try:
            self._together("starting NCCL", connect)
        except NvrarBenchError:
            self.abort()
            raise

    def _identity(self) -> bytes:
        made: bytes | str = b""
        if self.world.rank == 0:
            try:
                made = self._library.unique_id()
            except NcclError as error:
                made = str(error)
        made = self.world.comm.bcast(made, root=0)
        if isinstance(made, str):
            raise Unavailable(f"rank 0 on {self.world.hosts[0]}: {made}")
        return made

    def _stop(self) -> None:
        for window in self._link.windows.values():
            self._library.deregister(self._link.comm, window)
        self._library.stop(self._link.comm)

    def _together(self, phase: str, action: Callable[[], None]) -> None:
        """Do what waits for all ranks; if it fails on one, it fails on all, for the same reason."""
        problem = None
        try:
            self._bounded(phase, action)
        except (NcclError, TimedOut) as error:
            text = f"rank {self.world.rank} on {self.world.host}: {error}"
            if not isinstance(error, TimedOut):
                text = f"{phase}: {text}; NCCL_DEBUG=WARN shows more"
            problem = (isinstance(error, TimedOut), text)
        common = first_problem(self.world.comm.allgather(problem))
        if common:
            raise common

    def _bounded(self, phase: str, action: Callable[[], None]) -> None:
        def run() -> None:
            self._library.make_current(self._cuda.gpu.ordinal)
            action()

        bounded(phase, self.timeout, run)

    # ---- windows -------------------------------------------------------------------------------

    def _window_problem(self, *arrays: Any) -> str | None:
        """Have a window on the blocks of all arrays; else say why there is none. Collective."""
        blocks = list(dict.fromkeys(array.owner for array in arrays))
        if not all(getattr(block, "symmetric", False) for block in blocks):
            return "the buffers are not in symmetric memory"
        for block in blocks:
            if self._no_window is None and block.address not in self._link.windows:
                self._no_window = self._register(block.address, block.nbytes)
        return self._no_window

    def _register(self, address: int, nbytes: int) -> str | None:
        if self._version < _WINDOWS_SINCE:
            return f"NCCL {spelled(self._version)} has none; 2.27 and newer have"
        link, windows = self._link, self._link.windows

        def register() -> None:
            windows[address] = self._library.register(link.comm, address, nbytes)

        try:
            self._together("registering a window with NCCL", register)
        except Unavailable as error:
            # What state the communicator is in now, only NCCL knows.
            self.abort()
            self._connect()
            return str(error)
        if all(self.world.comm.allgather(bool(windows[address]))):
            return None
        del windows[address]
        return _NO_WINDOWS_HERE


@dataclass
class Link:
    """The communicator of the moment: windows that failed to register cost one its life."""

    library: NcclLibrary
    comm: Any = None
    failed: bool = False
    windows: dict[int, Any] = field(default_factory=dict)  # by the address of their block


class NcclAllReduce(Operation):
    """One call on fixed buffers: send, recv, count, type and op, as ncclAllReduce takes them."""

    stream_ordered = True

    def __init__(
        self, link: Link, arguments: tuple[int, ...], context: GpuContext, no_window: str | None
    ) -> None:
        """`no_window` says why there is none; "" where none was asked for, None where one is."""
        self._link, self._arguments, self._context = link, arguments, context
        self._enqueue: Callable[..., None] = link.library.all_reduce
        self.variant = "window" if no_window is None else "plain"
        if no_window:
            self.warnings = (f"NCCL ran without symmetric windows: {no_window}",)

    def launch(self) -> None:
        """Enqueue it; it has run when the stream has."""
        self._enqueue(*self._arguments, self._link.comm, self._context.stream_handle)

    def confirm(self) -> None:
        link = self._link
        state = link.library.state(link.comm)
        if state not in (SUCCESS, IN_PROGRESS):
            link.failed = True
            words = link.library.last_error(link.comm)
            raise NcclError(f"NCCL's all-reduce failed with ncclResult_t {state}: {words}")
