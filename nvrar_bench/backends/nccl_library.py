"""NCCL as the suite uses it: one method per call of nccl4py, and the waits bounded.

The communicator is a blocking one. A non-blocking one (ncclConfig_t.blocking = 0) would bound its
own set-up, but NCCL then starts a thread for every collective: the benchmark would measure that
thread. So calls that wait for other ranks run on a thread of their own, which has a deadline.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

from nvrar_bench import variables
from nvrar_bench.devices.cuda import driver
from nvrar_bench.devices.cuda.calls import load_calls
from nvrar_bench.errors import NvrarBenchError, Problem, TimedOut, Unavailable
from nvrar_bench.files import installed

# ncclDataType_t and ncclRedOp_t, in their order from 0; that of max and min is NCCL's.
_TYPES = (
    "int8 uint8 int32 uint32 int64 uint64 float16 float32 float64 bfloat16 float8_e4m3 float8_e5m2"
)
TYPES = {name: number for number, name in enumerate(_TYPES.split())}
OPS = {"sum": 0, "prod": 1, "max": 2, "min": 3, "avg": 4}

SUCCESS, IN_PROGRESS = 0, 7  # ncclResult_t
_SYMMETRIC = 1  # NCCL_WIN_COLL_SYMMETRIC


class NcclError(NvrarBenchError):
    """A function of NCCL failed."""


class NcclLibrary:
    """The calls; a communicator is whatever `connect` returned. What fails raises NcclError."""

    def __init__(self) -> None:
        self._nccl: Any = importlib.import_module("nccl.bindings.nccl")

    def version(self) -> int:
        """10000 major + 100 minor + patch."""
        return int(self._call("get_version"))

    def unique_id(self) -> bytes:
        """A new identity for a communicator; one rank makes it for all."""
        return bytes(self._call("get_unique_id"))

    def make_current(self, ordinal: int) -> None:
        """Make a GPU the current one of this thread.

        NCCL restores what was current before, which for a new thread would be GPU 0: it would cost
        that GPU a context of every rank.
        """
        try:
            calls = load_calls()
            calls.cuCtxSetCurrent(calls.cuDevicePrimaryCtxRetain(calls.cuDeviceGet(ordinal)))
        except NvrarBenchError as error:
            raise NcclError(f"GPU {ordinal} cannot be used: {error}") from error

    def connect(self, ranks: int, rank: int, unique_id: bytes) -> Any:
        """Create the communicator on the current GPU; waits for all ranks."""
        config = self._nccl.Config()
        config.blocking = 1
        identity = bytearray(unique_id)
        return self._call("comm_init_rank_scalable", ranks, rank, 1, identity, config.ptr)

    def register(self, comm: Any, address: int, nbytes: int) -> Any:
        """Register a symmetric window; false where NCCL has none here. Waits for all ranks."""
        return self._call("comm_window_register", comm, address, nbytes, _SYMMETRIC)

    def deregister(self, comm: Any, window: Any) -> None:
        """Give a window back."""
        self._call("comm_window_deregister", comm, window)

    def all_reduce(
        self, send: int, recv: int, count: int, dtype: int, op: int, comm: Any, stream: int
    ) -> None:
        """Enqueue one all-reduce."""
        try:
            self._nccl.all_reduce(send, recv, count, dtype, op, comm, stream)
        except self._nccl.NCCLError as error:
            raise NcclError(f"ncclAllReduce failed: {error}") from error

    def state(self, comm: Any) -> int:
        """Return what has become of what was enqueued, a ncclResult_t."""
        return int(self._call("comm_get_async_error", comm))

    def last_error(self, comm: Any) -> str:
        """Return NCCL's own words on its last error."""
        return str(self._call("get_last_error", comm)).strip()

    def stop(self, comm: Any) -> None:
        """End a healthy communicator; waits for what is enqueued, and for the other ranks."""
        self._call("comm_finalize", comm)
        self._call("comm_destroy", comm)

    def abort(self, comm: Any) -> None:
        """End a communicator, whatever it is doing."""
        self._call("comm_abort", comm)

    def _call(self, name: str, *arguments: Any) -> Any:
        try:
            return getattr(self._nccl, name)(*arguments)
        except (self._nccl.NCCLError, RuntimeError) as error:
            raise NcclError(f"{name} of NCCL failed: {error}") from error


def first_problem(problems: Sequence[tuple[bool, str] | None]) -> NvrarBenchError | None:
    """What all ranks raise, given (timed out, message) of each: causes before waits for them."""
    found = sorted(problem for problem in problems if problem is not None)
    if not found:
        return None
    timed_out, message = found[0]
    return TimedOut(message) if timed_out else Unavailable(message)


_SHARING_SINCE = 23000

ALGORITHM_UNKNOWN = (
    "NCCL writes its choice only to its log, per call: NCCL_DEBUG=INFO NCCL_DEBUG_SUBSYS=TUNING "
    "NCCL_DEBUG_FILE=FILE shows it, and slows the calls down"
)


def spelled(number: int) -> str:
    """22809 as `2.28.9`."""
    return f"{number // 10000}.{number % 10000 // 100}.{number % 100}"


def facts(number: int, environment: Mapping[str, str]) -> dict[str, Any]:
    """What a reader needs to know of this NCCL; None is unknown, for the reason beside it."""
    return {
        "nccl": spelled(number),
        "nccl4py": installed("nccl4py"),
        "nccl_environment": variables.chosen(environment, variables.NCCL),
        "nccl_algorithm": None,
        "nccl_protocol": None,
        "nccl_algorithm_reason": ALGORITHM_UNKNOWN,
    }


def library_problem() -> str | None:
    """Why the NCCL that is installed cannot be used with this driver; None if it can."""
    try:
        bindings = importlib.import_module("nccl.bindings.nccl")
        bindings.get_version()
    except (ImportError, RuntimeError) as error:
        return Problem(f"libnccl.so.2 cannot be loaded ({error})", driver.install_command())
    if not hasattr(bindings, "comm_init_rank_scalable") or not hasattr(bindings, "Comm"):
        return Problem("this nccl4py is too old", "pip install -U 'nccl4py>=0.6'")
    if os.environ.get("NCCL_COMM_BLOCKING") == "0":
        return Problem(
            "NCCL_COMM_BLOCKING=0 starts a thread for every call, which would be timed", "unset it"
        )
    try:
        built = importlib.import_module("nccl.core").get_version().libnccl
    except ImportError:
        return None  # it needs packages that the calls do not; a misfit then fails as NCCL starts
    if built is None or built.cuda_variant is None:
        return None
    supported = driver.supported_cuda()
    return cuda_problem(int(built.cuda_variant.major), supported // 1000) if supported else None


def cuda_problem(built_for: int, driver_major: int) -> str | None:
    """Why an NCCL for CUDA `built_for` does not run on a driver for CUDA `driver_major`."""
    if built_for <= driver_major:
        return None
    return Problem(
        f"this NCCL is for CUDA {built_for} and the driver supports CUDA {driver_major}",
        f"update the driver, or pip install 'nvrar-bench[cuda{driver_major}]'",
    )


def sharing_problem(number: int, ranks_per_gpu: int) -> str | None:
    """Why NCCL `number` cannot have `ranks_per_gpu` ranks on one GPU; None if it can."""
    if ranks_per_gpu == 1 or number >= _SHARING_SINCE:
        return None
    return (
        f"{ranks_per_gpu} ranks share a GPU, which NCCL can do from {spelled(_SHARING_SINCE)} on, "
        f"and this is {spelled(number)}: update it, or start one rank per GPU"
    )
