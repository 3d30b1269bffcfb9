"""Where the wheels of CUDA's compiler and headers lie, found without loading a library.

cuda-bindings decides the CUDA major version: it loads NVRTC and nvJitLink of its own. CUDA 13 puts
all headers into one folder of the namespace package `nvidia`; CUDA 12 has one folder per wheel.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from nvrar_bench.errors import CompilerError, Problem
from nvrar_bench.files import installed


@dataclass(frozen=True)
class Release:
    """The wheels that one CUDA major version needs, and the folders that they fill."""

    major: int
    compilers: tuple[str, ...]
    headers: tuple[str, ...]
    include_dirs: tuple[str, ...]  # below the package `nvidia`, in the order of the search
    nvshmem: str


# Files that must be in one of the folders.
_PROBES = ("cuda_fp16.h", "crt/host_defines.h", "cuda/std/cstdint")
RELEASES = {
    12: Release(
        major=12,
        compilers=("nvidia-cuda-nvrtc-cu12", "nvidia-nvjitlink-cu12"),
        headers=("nvidia-cuda-runtime-cu12", "nvidia-cuda-nvcc-cu12", "nvidia-cuda-cccl-cu12"),
        include_dirs=("cuda_runtime/include", "cuda_nvcc/include", "cuda_cccl/include"),
        nvshmem="nvidia-nvshmem-cu12",
    ),
    13: Release(
        major=13,
        compilers=("nvidia-cuda-nvrtc", "nvidia-nvjitlink"),
        headers=("nvidia-cuda-runtime", "nvidia-cuda-crt", "nvidia-cuda-cccl"),
        include_dirs=("cu13/include", "cu13/include/cccl"),
        nvshmem="nvidia-nvshmem-cu13",
    ),
}


@dataclass(frozen=True)
class Wheels:
    """What a compilation needs: the folders of headers, and the versions that it depends on."""

    release: Release
    versions: dict[str, str]  # by wheel
    include_dirs: tuple[Path, ...]

    @property
    def identity(self) -> str:
        """Distinguishes two sets of wheels."""
        return " ".join(f"{name}={number}" for name, number in sorted(self.versions.items()))


@dataclass(frozen=True)
class Nvshmem:
    """The device side of NVSHMEM."""

    version: str
    include_dir: Path
    library: Path


def find() -> Wheels:
    """Find the compiler and the headers of one CUDA version.

    CompilerError: a wheel is missing, or the wheels are of different CUDA versions.
    """
    bindings = installed("cuda-bindings")
    if bindings is None:
        raise CompilerError(Problem("the CUDA compiler is not installed", _fix(13)))
    release = _release_of(bindings)
    versions = {name: installed(name) for name in (*release.compilers, *release.headers)}
    missing = [name for name, number in versions.items() if number is None]
    if missing:
        raise CompilerError(_missing(release, bindings, missing))
    found = {name: number for name, number in versions.items() if number is not None}
    _require_one_major(release, bindings, found)
    return Wheels(release, {"cuda-bindings": bindings, **found}, include_dirs(release))


def find_nvshmem(release: Release) -> Nvshmem:
    """Find NVSHMEM's device library of a CUDA version (CompilerError)."""
    number = installed(release.nvshmem)
    for root in _package_roots():
        library = root / "nvshmem" / "lib" / "libnvshmem_device.a"
        if number is not None and library.is_file():
            return Nvshmem(number, root / "nvshmem" / "include", library)
    raise CompilerError(Problem(f"{release.nvshmem} is not installed", _fix(release.major)))


def _release_of(bindings: str) -> Release:
    release = RELEASES.get(major_of(bindings))
    if release is None:
        what = f"cuda-bindings {bindings} is of CUDA {major_of(bindings)}; 12 and 13 are supported"
        raise CompilerError(Problem(what, _fix(13)))
    return release


def _missing(release: Release, bindings: str, missing: list[str]) -> str:
    text = f"cuda-bindings {bindings} needs {', '.join(missing)}, not installed"
    other = next(r for major, r in RELEASES.items() if major != release.major)
    # Headers of the other version lie there, and would compile into something that is neither.
    if any(installed(name) for name in (*other.compilers, *other.headers)):
        text += f" (installed is CUDA {other.major})"
    return Problem(text, _fix(release.major))


def _require_one_major(release: Release, bindings: str, versions: dict[str, str]) -> None:
    for name, number in versions.items():
        if major_of(number) != release.major:
            what = (
                f"cuda-bindings {bindings} is of CUDA {release.major}, {name} {number} of CUDA "
                f"{major_of(number)}"
            )
            raise CompilerError(Problem(what, _fix(release.major)))


@cache
def include_dirs(release: Release) -> tuple[Path, ...]:
    """Folders of the headers, once those that every kernel includes are seen in them."""
    roots = _package_roots()
    folders = [root / name for root in roots for name in release.include_dirs]
    for probe in _PROBES:
        if not any((folder / probe).is_file() for folder in folders):
            wheels = " ".join(release.headers)
            fix = f"pip install --force-reinstall {wheels}"
            raise CompilerError(Problem(f"{probe} is not in the CUDA headers", fix))
    return tuple(folder for folder in folders if folder.is_dir())


def _package_roots() -> list[Path]:
    spec = importlib.util.find_spec("nvidia")
    return [Path(root) for root in spec.submodule_search_locations or ()] if spec else []


def major_of(number: str) -> int:
    """The first number of a version; 0 if it has none."""
    first = number.split(".")[0]
    return int(first) if first.isdigit() else 0


def _fix(major: int) -> str:
    return f"pip install 'nvrar-bench[cuda{major}]'"
