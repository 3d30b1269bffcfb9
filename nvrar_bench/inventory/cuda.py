"""The cuda device: the driver, its GPUs, and what compiles kernels for them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from nvrar_bench.devices.cuda import driver
from nvrar_bench.devices.cuda.calls import Calls, load_calls
from nvrar_bench.errors import CompilerError, Unavailable
from nvrar_bench.inventory.probe import Finding, Probe, installed, loaded, missing
from nvrar_bench.problem import Problem, told
from nvrar_bench.toolchain import nvrtc, wheels
from nvrar_bench.units import gibibytes

_CUDA = ("cuda",)
_BINDINGS = "cuda-bindings"
_MODELS = Path("/proc/driver/nvidia/gpus")  # of the kernel module: what it knows without a library


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
    return Finding("wrong" if old else "here", version, path, module, old)


def _gpus() -> Finding | list[Finding]:
    problem = driver.missing_library()
    if problem:
        return missing(problem)
    try:
        calls = load_calls()
    except Unavailable as error:
        return Finding("missing", detail=_models(), problem=told(error))
    problem = driver.missing_gpu(calls)
    if problem:
        return Finding("missing", detail=_models(), problem=problem)
    return [_gpu(calls, ordinal) for ordinal in range(int(calls.cuDeviceGetCount()))]


def _gpu(calls: Calls, ordinal: int) -> Finding:
    gpu = driver.describe(calls, ordinal)
    problem = driver.too_small(calls, ordinal)
    return Finding(
        "wrong" if problem else "here", version=gpu.name, problem=problem,
        detail=f"{gpu.arch}, {gibibytes(gpu.memory_bytes)}, {gpu.uuid}", name=f"GPU {ordinal}",
    )  # fmt: skip


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
        return missing(Problem("not installed", driver.install_command()))
    problem = driver.missing_wheel({_BINDINGS: wheels_there[_BINDINGS]})
    return Finding("wrong" if problem else "here", wheels_there[_BINDINGS], problem=problem)


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
        return missing(Problem("cuda-python is not installed", driver.install_command()))
    return Finding("wrong", problem=told(error))


PROBES = (
    Probe("cuda device", "NVIDIA driver", _CUDA, _driver),
    Probe("cuda device", "GPUs", _CUDA, _gpus),
    Probe("cuda device", "CUDA_VISIBLE_DEVICES", _CUDA, _visible),
    Probe("cuda device", _BINDINGS, _CUDA, _bindings),
    Probe("cuda device", "NVRTC", _CUDA, lambda: _compiler(nvrtc.version)),
    Probe("cuda device", "nvJitLink", ("nvrar on cuda",), lambda: _compiler(nvrtc.linker_version)),
    Probe("cuda device", "CUDA headers", _CUDA, _headers),
)
