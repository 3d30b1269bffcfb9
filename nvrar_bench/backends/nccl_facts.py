"""Which NCCL this is: what the record says of it, and whether it fits the driver."""

from __future__ import annotations

import ctypes
import importlib
import os
import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

_SHARING_SINCE = 23000
_PREFIX = "NCCL_"
_SECRET_NAME = re.compile("KEY|TOKEN|SECRET|PASS|PSK|CREDENTIAL|AUTH", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"://[^/\s]*@|-----BEGIN|\b[0-9A-Fa-f]{32,}\b|[A-Za-z0-9+]{40,}=*$")

ALGORITHM_UNKNOWN = (
    "NCCL tells its choice only to its log, per call: NCCL_DEBUG=INFO NCCL_DEBUG_SUBSYS=TUNING "
    "NCCL_DEBUG_FILE=FILE shows it, and slows the calls down"
)


def spelled(number: int) -> str:
    """22809 as `2.28.9`."""
    return f"{number // 10000}.{number % 10000 // 100}.{number % 100}"


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables that steer NCCL, without those that look like a secret."""
    return {
        name: value
        for name, value in sorted(variables.items())
        if name.startswith(_PREFIX)
        and not _SECRET_NAME.search(name)
        and not _SECRET_VALUE.search(value)
    }


def facts(number: int, variables: Mapping[str, str]) -> dict[str, Any]:
    """What a reader needs to know of this NCCL; None is unknown, for the reason beside it."""
    try:
        bindings: str | None = version("nccl4py")
    except PackageNotFoundError:
        bindings = None
    return {
        "nccl": spelled(number),
        "nccl4py": bindings,
        "nccl_environment": environment(variables),
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
        return f"libnccl.so.2 cannot be loaded ({error}): pip install 'nvrar-bench[cuda13]'"
    if not hasattr(bindings, "comm_init_rank_scalable") or not hasattr(bindings, "Comm"):
        return "this nccl4py is too old: pip install -U 'nccl4py>=0.6'"
    if os.environ.get("NCCL_COMM_BLOCKING") == "0":
        return "NCCL_COMM_BLOCKING=0 starts a thread for every call, which would be timed: unset it"
    try:
        built = importlib.import_module("nccl.core").get_version().libnccl
    except ImportError as error:
        return f"nccl4py cannot be loaded ({error}): pip install -U 'nvrar-bench[cuda13]'"
    if built is None or built.cuda_variant is None:
        return None
    return cuda_problem(int(built.cuda_variant.major), _driver_major())


def _driver_major() -> int:
    number = ctypes.c_int()
    ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(number))
    return number.value // 1000


def cuda_problem(built_for: int, driver: int) -> str | None:
    """Why an NCCL for CUDA `built_for` does not run on a driver for CUDA `driver` (majors)."""
    if built_for <= driver:
        return None
    return (
        f"this NCCL is for CUDA {built_for} and the driver supports CUDA {driver}: update the "
        f"driver, or pip install 'nvrar-bench[cuda{driver}]'"
    )


def sharing_problem(number: int, ranks_per_gpu: int) -> str | None:
    """Why NCCL `number` cannot have `ranks_per_gpu` ranks on one GPU; None if it can."""
    if ranks_per_gpu == 1 or number >= _SHARING_SINCE:
        return None
    return (
        f"{ranks_per_gpu} ranks share a GPU, which NCCL can do from {spelled(_SHARING_SINCE)} on, "
        f"and this is {spelled(number)}: update it, or start one rank per GPU"
    )
