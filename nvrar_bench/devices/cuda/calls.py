"""The one door to the CUDA driver: every call passes here, and an error code becomes a message."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nvrar_bench.errors import NvrarBenchError, Problem, Unavailable


class CudaError(NvrarBenchError):
    """A CUDA driver function failed; `name` is the error's, such as CUDA_ERROR_OUT_OF_MEMORY."""

    def __init__(self, function: str, name: str, text: str) -> None:
        super().__init__(f"{function} failed: {name}" + (f" ({text})" if text else ""))
        self.name = name


class Calls:
    """The functions and constants of cuda.bindings.driver by their own names.

    A function returns its results without the error code: nothing, one value or a tuple. An error
    code is raised (CudaError).
    """

    def __init__(self, driver: Any) -> None:
        self._driver = driver

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._driver, name)
        if name.startswith("cu"):
            found = self._checked(name, found)
        self.__dict__[name] = found  # looked up once: the timed loop comes by here
        return found

    def is_done(self, event: Any) -> bool:
        """True if everything before `event` in its stream has run."""
        code = self._driver.cuEventQuery(event)[0]
        if code == self._driver.CUresult.CUDA_ERROR_NOT_READY:
            return False
        self._require_success("cuEventQuery", code)
        return True

    def _checked(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            code, *results = function(*arguments)
            self._require_success(name, code)
            if len(results) == 1:
                return results[0]
            return tuple(results) if results else None

        return call

    def _require_success(self, function: str, code: Any) -> None:
        if int(code) == 0:
            return
        name = getattr(code, "name", str(code))
        _, text = self._driver.cuGetErrorString(code)
        raise CudaError(function, name, text.decode(errors="replace") if text else "")


def load_calls() -> Calls:
    """Open the door; neither a driver nor a GPU is needed for that.

    Unavailable: cuda-python is not installed, or is damaged.
    """
    try:
        return Calls(importlib.import_module("cuda.bindings.driver"))
    except ImportError as error:
        what = f"cuda-python cannot be imported ({error})"
        raise Unavailable(Problem(what, "pip install 'nvrar-bench[cuda13]'")) from error


_MPS_VARIABLE = "CUDA_MPS_PIPE_DIRECTORY"
_MPS_PIPES = "/tmp/nvidia-mps"  # noqa: S108 - where the daemon listens; nothing is written there
# What a process that has launched nothing gets of a server that another client left in fault.
_LEFT_BY_ANOTHER = (
    "CUDA_ERROR_LAUNCH_FAILED",
    "CUDA_ERROR_LAUNCH_TIMEOUT",
    "CUDA_ERROR_ILLEGAL_ADDRESS",
    "CUDA_ERROR_UNKNOWN",
)
MPS_RESTART = "echo quit | nvidia-cuda-mps-control; nvidia-cuda-mps-control -d"


def mps_is_on() -> bool:
    """Whether a daemon of MPS listens, or did before it died: then the driver asks for it."""
    return Path(os.environ.get(_MPS_VARIABLE) or _MPS_PIPES).is_dir()


def mps_problem(calls: Calls) -> Problem | None:
    """Say so if the server of MPS is in fault: make a context and give it back, as a run would.

    Without MPS nothing is made.
    """
    if not mps_is_on():
        return None
    try:
        calls.cuInit(0)
        device = calls.cuDeviceGet(0)
        calls.cuDevicePrimaryCtxRetain(device)
        calls.cuDevicePrimaryCtxRelease(device)
    except CudaError as error:
        return mps_fault(error)
    return None


def mps_fault(error: CudaError) -> Problem | None:
    """Explain the error of a first call, if the server of MPS is at the bottom of it."""
    if not mps_is_on():
        return None
    if not error.name.startswith("CUDA_ERROR_MPS_") and error.name not in _LEFT_BY_ANOTHER:
        return None
    return Problem(
        f"the MPS server is in fault, as it is after a rank was killed ({error})",
        f"start it again: {MPS_RESTART}",
    )
