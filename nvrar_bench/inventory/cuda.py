"""The cuda device: the driver, its GPUs, what compiles kernels for them; NCCL, NVSHMEM, MPS."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from nvrar_bench.backends import nccl_library
from nvrar_bench.devices.cuda import driver, heap
from nvrar_bench.devices.cuda.calls import Calls, load_calls, mps_is_on, mps_problem
from nvrar_bench.errors import CompilerError, Problem, Unavailable, problem_of
from nvrar_bench.files import installed
from nvrar_bench.inventory import Finding, Probe, loaded, missing, wheel
from nvrar_bench.toolchain import nvrtc, wheels
from nvrar_bench.units import gibibytes

_CUDA = ("cuda",)
_BINDINGS = "cuda-bindings"
_MODELS = Path("/proc/driver/nvidia/gpus")  # of the kernel module: what it knows without a library

_NCCL = ("nccl on cuda",)
_NVRAR = ("nvrar on cuda",)
_MPS = "nvidia-cuda-mps-control"
_WITH_DRIVER = (
    "install the NVIDIA driver's programs; in a container, start it with "
    "NVIDIA_DRIVER_CAPABILITIES=compute,utility"
)


def _driver() -> Finding:
    problem = driver.missing_library()
    if problem:
        return missing(problem)
    path, module = loaded("libcuda"), driver.kernel_module()
    supported, bindings = driver.supported_cuda(), driver.bindings_major()
    if supported is None:
        problem = Problem("it does not say which CUDA it supports", "install the driver again")
        return Finding("wrong", path=path, detail=module, problem=problem)
    old = driver.too_old(supported, bindings) if bindings else None
    version = f"CUDA {driver.cuda_version(supported)}"
    return Finding(version=version, path=path, detail=module, problem=old)


def _gpus() -> Finding | list[Finding]:
    problem = driver.missing_library()
    if problem:
        return missing(problem)
    try:
        calls = load_calls()
    except Unavailable as error:
        return Finding("missing", detail=_models(), problem=problem_of(error))
    problem = driver.missing_gpu(calls)
    if problem:
        return Finding("missing", detail=_models(), problem=problem)
    return [_gpu(calls, ordinal) for ordinal in range(int(calls.cuDeviceGetCount()))]


def _gpu(calls: Calls, ordinal: int) -> Finding:
    gpu = driver.describe(calls, ordinal)
    detail = f"{gpu.arch}, {gibibytes(gpu.memory_bytes)}, {gpu.uuid}"
    problem = driver.too_small(calls, ordinal)
    return Finding(version=gpu.name, problem=problem, detail=detail, name=f"GPU {ordinal}")


def _models() -> str | None:
    """What the kernel module knows, for who cannot ask the driver."""
    texts = [path.read_text() for path in sorted(_MODELS.glob("*/information"))]
    lines = (line for text in texts for line in text.splitlines())
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]
    return f"the kernel module knows {', '.join(models)}" if models else None


def _visible() -> Finding:
    value = os.environ.get("CUDA_VISIBLE_DEVICES")
    return Finding(version="not set: all" if value is None else value or "(empty: none)")


def _bindings() -> Finding:
    wheels_there = driver.installed()
    if _BINDINGS not in wheels_there:
        return missing("not installed", driver.install_command())
    problem = driver.missing_wheel({_BINDINGS: wheels_there[_BINDINGS]})
    return Finding(version=wheels_there[_BINDINGS], problem=problem)


def _compiler(version: Callable[[], str]) -> Finding:
    """One of the libraries that compile, once its wheels are found."""
    try:
        return Finding(version=version(), path=loaded("lib(?:nvrtc|nvJitLink)"))
    except CompilerError as error:
        return _uncompiled(error)


def _headers() -> Finding:
    try:
        found = wheels.find()
    except CompilerError as error:
        return _uncompiled(error)
    versions = ", ".join(f"{name} {found.versions[name]}" for name in found.release.headers)
    return Finding(version=versions, path=str(found.include_dirs[0]))


def _uncompiled(error: CompilerError) -> Finding:
    if installed(_BINDINGS) is None:
        return missing("cuda-python is not installed", driver.install_command())
    return Finding("wrong", problem=problem_of(error))


# ---- libraries ---------------------------------------------------------------------------------


def _suffixed(family: str) -> Finding:
    """A wheel with the CUDA major in its name, which must be that of cuda-bindings."""
    there = driver.installed()
    found = [name for name in there if name.startswith(family)]
    if not found:
        return missing("not installed", driver.install_command())
    major = driver.bindings_major()
    problem = driver.mixed_wheel(family, major, there) if major else None
    shown = ", ".join(f"{name} {there[name]}" for name in found)
    return Finding(version=shown, problem=problem)


def _unloaded(family: str, bindings: str) -> Finding:
    """The wheel of a library, where there are no bindings to load it with."""
    found = _suffixed(family)
    return replace(found, detail=f"not loaded: {bindings} is missing") if found.version else found


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
    problem = heap.missing()
    if problem:
        return Finding("wrong", problem=problem)
    return Finding(version=heap.NvshmemLibrary().version(), path=loaded("libnvshmem_host"))


def _nvshmem_device() -> Finding:
    found = wheels.find_nvshmem(wheels.find().release)
    return Finding(version=found.version, path=str(found.library))


def _mps() -> Finding:
    path = shutil.which(_MPS)
    if path is None:
        return missing(f"no {_MPS} on PATH", _WITH_DRIVER)
    if not mps_is_on():
        return Finding(path=path, detail="not started")
    problem = None if driver.missing() else mps_problem(driver.require())
    return Finding(path=path, detail="started", problem=problem)


def able() -> str | None:
    """MPI, a driver and GPUs, MPS where it is on, and the kernel that every run loads first."""
    from nvrar_bench.launch.initialize import load_mpi

    load_mpi()
    problem = driver.missing() or mps_problem(driver.require())
    if problem is None:
        _build_gate()
    return problem


def _build_gate() -> None:
    from nvrar_bench.toolchain import cuda
    from nvrar_bench.toolchain.kernel import CUDA_GATE

    calls = driver.require()
    ordinals = range(int(calls.cuDeviceGetCount()))
    for arch in sorted({driver.describe(calls, ordinal).arch for ordinal in ordinals}):
        cuda.build(CUDA_GATE, arch)


PROBES = (
    Probe("cuda device", "NVIDIA driver", _CUDA, _driver),
    Probe("cuda device", "GPUs", _CUDA, _gpus),
    Probe("cuda device", "CUDA_VISIBLE_DEVICES", _CUDA, _visible),
    Probe("cuda device", _BINDINGS, _CUDA, _bindings),
    Probe("cuda device", "NVRTC", _CUDA, lambda: _compiler(nvrtc.version)),
    Probe("cuda device", "nvJitLink", _NVRAR, lambda: _compiler(nvrtc.linker_version)),
    Probe("cuda device", "CUDA headers", _CUDA, _headers),
    Probe("cuda device", "MPS", ("--share-gpu",), _mps),
    Probe("NCCL", "nccl4py", _NCCL, lambda: wheel("nccl4py", driver.install_command())),
    Probe("NCCL", "NCCL library", _NCCL, _nccl),
    Probe("NVSHMEM", "nvshmem4py", _NVRAR, partial(_suffixed, "nvshmem4py-cu")),
    Probe("NVSHMEM", "NVSHMEM library", _NVRAR, _nvshmem),
    Probe("NVSHMEM", "device library", _NVRAR, _nvshmem_device, refused="missing"),
)
