"""Which NCCL this is: what the record says of it, and whether it fits the driver."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from nvrar_bench import variables
from nvrar_bench.devices.cuda import driver
from nvrar_bench.problem import Problem

_SHARING_SINCE = 23000

ALGORITHM_UNKNOWN = (
    "NCCL tells its choice only to its log, per call: NCCL_DEBUG=INFO NCCL_DEBUG_SUBSYS=TUNING "
    "NCCL_DEBUG_FILE=FILE shows it, and slows the calls down"
)


def spelled(number: int) -> str:
    """22809 as `2.28.9`."""
    return f"{number // 10000}.{number % 10000 // 100}.{number % 100}"


def facts(number: int, environment: Mapping[str, str]) -> dict[str, Any]:
    """What a reader needs to know of this NCCL; None is unknown, for the reason beside it."""
    try:
        bindings: str | None = version("nccl4py")
    except PackageNotFoundError:
        bindings = None
    return {
        "nccl": spelled(number),
        "nccl4py": bindings,
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
