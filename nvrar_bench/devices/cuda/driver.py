"""Is there a CUDA driver and a GPU, and what are they: asked without creating a context."""

from __future__ import annotations

import ctypes
import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nvrar_bench import files
from nvrar_bench.devices.cuda.calls import Calls, CudaError, load_calls, mps_fault
from nvrar_bench.errors import NvrarBenchError, Problem, Unavailable, problem_of
from nvrar_bench.toolchain.wheels import RELEASES, major_of

_LIBRARY = "libcuda.so.1"
_VISIBLE = "CUDA_VISIBLE_DEVICES"
_KERNEL_MODULE = Path("/proc/driver/nvidia/version")
_BINDINGS = "cuda-bindings"
# Wheels that carry the CUDA major in their name; those of the other major do not load with ours.
_SUFFIXED = ("nvidia-nccl-cu", "nvidia-nvshmem-cu", "nvshmem4py-cu")
_MAJORS = tuple(RELEASES)
_OLDEST = (8, 0)  # compute capability


def missing() -> str | None:
    """The first thing that a GPU run lacks, with its fix; None if nothing is missing.

    Creates no context and never raises.
    """
    try:
        return missing_wheel(installed()) or missing_library() or _unusable_gpu(load_calls())
    except NvrarBenchError as error:
        return problem_of(error)


def require() -> Calls:
    """The door to a driver that is there (Unavailable)."""
    problem = missing()
    if problem:
        raise Unavailable(problem)
    return load_calls()


def missing_wheel(installed: Mapping[str, str]) -> str | None:
    """Say which wheel is missing or of the wrong CUDA major; `installed` maps names to versions."""
    if _BINDINGS not in installed:
        return Problem("cuda-python is not installed", install_command())
    major = major_of(installed[_BINDINGS])
    if major not in _MAJORS:
        return Problem(
            f"cuda-python {installed[_BINDINGS]} is for CUDA {major}; allowed: "
            f"{' and '.join(map(str, _MAJORS))}",
            install_command(),
        )
    problems = (mixed_wheel(family, major, installed) for family in _SUFFIXED)
    return next(filter(None, problems), None)


def mixed_wheel(family: str, major: int, installed: Mapping[str, str]) -> str | None:
    """Say so if the wheel `family`, less the major in its name, is there for another CUDA alone."""
    others = [f"{family}{m}" for m in _MAJORS if m != major and f"{family}{m}" in installed]
    if not others or f"{family}{major}" in installed:
        return None
    return Problem(
        f"the wheels are mixed: cuda-python is for CUDA {major}, but {others[0]} is installed and "
        f"{family}{major} is not",
        f"pip install 'nvrar-bench[cuda{major}]'",
    )


def install_command(options: str = "", extra: str = "cuda") -> str:
    """What installs the wheels: of the CUDA of cuda-python, else of the driver, else the newest."""
    major = bindings_major() or (supported_cuda() or 0) // 1000
    return (
        f"pip install {options}'nvrar-bench[{extra}{major if major in _MAJORS else _MAJORS[-1]}]'"
    )


def supported_cuda() -> int | None:
    """The newest CUDA of the driver (1000 major + 10 minor), or None; asked without cuda-python."""
    number = ctypes.c_int()
    try:
        ask = ctypes.CDLL(_LIBRARY).cuDriverGetVersion
    except OSError:
        return None
    return number.value if ask(ctypes.byref(number)) == 0 else None


def too_old(driver: int, wheels_major: int) -> str | None:
    """Say so if a driver that supports CUDA `driver` (1000 major + 10 minor) lacks the major."""
    if driver >= wheels_major * 1000:
        return None
    older = driver // 1000
    others = f", or pip install 'nvrar-bench[cuda{older}]'" if older in _MAJORS else ""
    return Problem(
        f"the NVIDIA driver supports CUDA up to {cuda_version(driver)}, and the installed wheels "
        f"are for CUDA {wheels_major}",
        f"update the driver{others}",
    )


def _none_visible(visible: str | None) -> str:
    if visible is None:
        return Problem("no CUDA device is visible", "nvidia-smi -L shows what the driver sees")
    return Problem(
        f"no CUDA device is visible: {_VISIBLE} is {visible!r}", "unset it or name a GPU", "; "
    )


def cuda_version(number: int) -> str:
    """13010 as `13.1`."""
    return f"{number // 1000}.{number % 1000 // 10}"


@dataclass(frozen=True)
class Gpu:
    """One visible GPU; clocks are what the driver gives as their maximum, None if it does not."""

    ordinal: int
    name: str
    uuid: str
    arch: str
    sms: int
    memory_bytes: int
    l2_bytes: int
    clock_mhz: int | None
    memory_clock_mhz: int | None

    def facts(self) -> dict[str, Any]:
        """The same for the record: every name begins with `gpu`."""
        known = asdict(self)
        known.pop("ordinal")
        return {"gpu": known.pop("name"), **{f"gpu_{name}": value for name, value in known.items()}}


def describe(calls: Calls, ordinal: int) -> Gpu:
    """Read the facts of a visible GPU (CudaError); needs no context."""
    device = calls.cuDeviceGet(ordinal)
    return Gpu(
        ordinal=ordinal,
        name=calls.cuDeviceGetName(256, device).split(b"\0")[0].decode(errors="replace"),
        uuid=f"GPU-{uuid.UUID(bytes=bytes(calls.cuDeviceGetUuid(device).bytes))}",
        arch=_arch(_capability(calls, device)),
        sms=_attribute(calls, device, "MULTIPROCESSOR_COUNT"),
        memory_bytes=int(calls.cuDeviceTotalMem(device)),
        l2_bytes=_attribute(calls, device, "L2_CACHE_SIZE"),
        clock_mhz=_attribute(calls, device, "CLOCK_RATE") // 1000 or None,
        memory_clock_mhz=_attribute(calls, device, "MEMORY_CLOCK_RATE") // 1000 or None,
    )


def versions(calls: Calls) -> dict[str, str | None]:
    """CUDA as the driver supports it, the kernel module's version, and the bindings'."""
    return {
        "cuda_driver": cuda_version(int(calls.cuDriverGetVersion())),
        "nvidia_driver": kernel_module(),
        "cuda_bindings": installed().get(_BINDINGS),
    }


def installed() -> dict[str, str]:
    """Versions of the wheels of the cuda device that are there."""
    names = [_BINDINGS, *(f"{family}{major}" for family in _SUFFIXED for major in _MAJORS)]
    return {name: found for name in names if (found := files.installed(name))}


def bindings_major() -> int | None:
    """The CUDA that cuda-bindings is for; None if it is not installed."""
    number = installed().get(_BINDINGS)
    return None if number is None else major_of(number)


def missing_library() -> str | None:
    """Say so if the driver's library is not there, or cannot be loaded."""
    try:
        ctypes.CDLL(_LIBRARY)
    except OSError:
        return Problem(
            f"{_LIBRARY} is not found",
            "install the NVIDIA driver; in a container, start it with its GPUs (docker run --gpus "
            "all)",
        )
    return None


def _unusable_gpu(calls: Calls) -> str | None:
    """The first thing that keeps a run from the GPUs of a driver that is there."""
    return (
        too_old(int(calls.cuDriverGetVersion()), bindings_major() or 0)
        or missing_gpu(calls)
        or next(filter(None, (too_small(calls, n) for n in range(calls.cuDeviceGetCount()))), None)
    )


def missing_gpu(calls: Calls) -> str | None:
    """Say so if the driver does not start, or no GPU is visible."""
    try:
        calls.cuInit(0)
        visible = int(calls.cuDeviceGetCount())
    except CudaError as error:
        if error.name not in ("CUDA_ERROR_NO_DEVICE", "CUDA_ERROR_INVALID_DEVICE"):
            return mps_fault(error) or f"the CUDA driver does not start: {error}"
        visible = 0
    return None if visible else _none_visible(os.environ.get(_VISIBLE))


def too_small(calls: Calls, ordinal: int) -> str | None:
    """Say so if a visible GPU is older than those that the kernels are made for."""
    capability = _capability(calls, calls.cuDeviceGet(ordinal))
    if capability >= _OLDEST:
        return None
    return Problem(
        f"GPU {ordinal} is {_arch(capability)}; {_arch(_OLDEST)} and newer are supported",
        f"leave it out of {_VISIBLE}",
    )


def _capability(calls: Calls, device: Any) -> tuple[int, int]:
    major, minor = (
        _attribute(calls, device, f"COMPUTE_CAPABILITY_{part}") for part in ("MAJOR", "MINOR")
    )
    return major, minor


def _arch(capability: tuple[int, int]) -> str:
    return "sm_{}{}".format(*capability)


def _attribute(calls: Calls, device: Any, name: str) -> int:
    attribute = getattr(calls.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}")
    return int(calls.cuDeviceGetAttribute(attribute, device))


def kernel_module() -> str | None:
    """The version of the driver's kernel module, such as `580.65.06`."""
    try:
        text = _KERNEL_MODULE.read_text()
    except OSError:
        return None
    found = re.search(r"\b(\d{3}\.\d+(?:\.\d+)?)\b", text)
    return found.group(1) if found else None
