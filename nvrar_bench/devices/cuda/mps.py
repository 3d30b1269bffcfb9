"""MPS, by which ranks share a GPU: its server stays in fault after a client died in a kernel.

All that connect later fail until it is started again, and the driver's error does not say so.
"""

from __future__ import annotations

import os
from pathlib import Path

from nvrar_bench.devices.cuda.calls import Calls, CudaError
from nvrar_bench.problem import Problem

_PIPES = "CUDA_MPS_PIPE_DIRECTORY"
_DEFAULT = "/tmp/nvidia-mps"  # noqa: S108 - where the daemon listens; nothing is written there
# What a process that has launched nothing gets of a server that another client left in fault.
_LEFT_BY_ANOTHER = (
    "CUDA_ERROR_LAUNCH_FAILED", "CUDA_ERROR_LAUNCH_TIMEOUT", "CUDA_ERROR_ILLEGAL_ADDRESS",
    "CUDA_ERROR_UNKNOWN",
)  # fmt: skip
RESTART = "echo quit | nvidia-cuda-mps-control; nvidia-cuda-mps-control -d"


def is_on() -> bool:
    """Whether a daemon of MPS listens, or did before it died: then the driver asks for it."""
    return Path(os.environ.get(_PIPES) or _DEFAULT).is_dir()


def problem(calls: Calls) -> Problem | None:
    """Say so if the server of MPS is in fault: make a context and give it back, as a run would.

    Without MPS nothing is made.
    """
    if not is_on():
        return None
    try:
        calls.cuInit(0)
        device = calls.cuDeviceGet(0)
        calls.cuDevicePrimaryCtxRetain(device)
        calls.cuDevicePrimaryCtxRelease(device)
    except CudaError as error:
        return fault(error)
    return None


def fault(error: CudaError) -> Problem | None:
    """Explain the error of a first call, if the server of MPS is at the bottom of it."""
    if not is_on():
        return None
    if not error.name.startswith("CUDA_ERROR_MPS_") and error.name not in _LEFT_BY_ANOTHER:
        return None
    return Problem(
        f"the MPS server is in fault, as it is after a rank was killed ({error})",
        f"start it again: {RESTART}",
    )
