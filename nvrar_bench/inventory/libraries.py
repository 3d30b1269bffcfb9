"""NCCL, NVSHMEM and their bindings, and MPS."""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import replace
from functools import partial

from nvrar_bench.backends import nccl_library
from nvrar_bench.devices.cuda import driver, heap_library
from nvrar_bench.devices.cuda.calls import mps_is_on, mps_problem
from nvrar_bench.errors import CompilerError
from nvrar_bench.inventory.probe import Finding, Probe, loaded, missing, wheel
from nvrar_bench.problem import Problem, told
from nvrar_bench.toolchain import wheels

_NCCL = ("nccl on cuda",)
_NVRAR = ("nvrar on cuda",)
_MPS = "nvidia-cuda-mps-control"
_WITH_DRIVER = (
    "install the NVIDIA driver's programs; in a container, start it with "
    "NVIDIA_DRIVER_CAPABILITIES=compute,utility"
)


def _suffixed(family: str) -> Finding:
    """A wheel with the CUDA major in its name, which must be that of cuda-bindings."""
    there = driver.installed()
    found = [name for name in there if name.startswith(family)]
    if not found:
        return missing(Problem("not installed", driver.install_command()))
    major = driver.bindings_major()
    problem = driver.mixed_wheel(family, major, there) if major else None
    shown = ", ".join(f"{name} {there[name]}" for name in found)
    return Finding("wrong" if problem else "here", version=shown, problem=problem)


def _unloaded(family: str, bindings: str) -> Finding:
    """The wheel of a library, where there are no bindings to load it with."""
    found = _suffixed(family)
    return replace(found, detail=f"not loaded: {bindings} is missing") if found.version else found


def _nccl4py() -> Finding:
    return wheel("nccl4py", driver.install_command())


def _nccl() -> Finding:
    if importlib.util.find_spec("nccl") is None:
        return _unloaded("nvidia-nccl-cu", "nccl4py")
    problem = nccl_library.library_problem()
    path = loaded("libnccl")
    if problem:
        return Finding("wrong", path=path, problem=problem)
    return Finding(version=nccl_library.spelled(nccl_library.NcclLibrary().version()), path=path)


def _nvshmem() -> Finding:
    if importlib.util.find_spec("nvshmem") is None:
        return _unloaded("nvidia-nvshmem-cu", "nvshmem4py")
    problem = heap_library.missing()
    if problem:
        return Finding("wrong", problem=problem)
    return Finding(version=heap_library.NvshmemLibrary().version(), path=loaded("libnvshmem_host"))


def _nvshmem_device() -> Finding:
    try:
        found = wheels.find_nvshmem(wheels.find().release)
    except CompilerError as error:
        return missing(told(error))
    return Finding(version=found.version, path=str(found.library))


def _mps() -> Finding:
    path = shutil.which(_MPS)
    if path is None:
        return missing(Problem(f"no {_MPS} on PATH", _WITH_DRIVER))
    if not mps_is_on():
        return Finding(path=path, detail="not started")
    problem = None if driver.missing() else mps_problem(driver.require())
    return Finding("wrong" if problem else "here", path=path, detail="started", problem=problem)


PROBES = (
    Probe("cuda device", "MPS", ("--share-gpu",), _mps),
    Probe("NCCL", "nccl4py", _NCCL, _nccl4py),
    Probe("NCCL", "NCCL library", _NCCL, _nccl),
    Probe("NVSHMEM", "nvshmem4py", _NVRAR, partial(_suffixed, "nvshmem4py-cu")),
    Probe("NVSHMEM", "NVSHMEM library", _NVRAR, _nvshmem),
    Probe("NVSHMEM", "device library", _NVRAR, _nvshmem_device),
)
