"""Why NCCL cannot be measured here. It needs the cuda device, which this version does not have."""

from __future__ import annotations

import ctypes
import importlib.util


def missing() -> str:
    """The first thing that NCCL lacks here, and what to do about it."""
    if importlib.util.find_spec("nccl") is None:
        return "nccl4py is not installed: pip install 'nvrar-bench[cuda13]'"
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "no CUDA driver (libcuda.so.1) was found: install the NVIDIA driver"
    return "NCCL needs the cuda device, which this version does not have: use --backend mpi,nvrar"
