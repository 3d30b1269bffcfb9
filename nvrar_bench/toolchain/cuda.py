"""Kernels for GPUs: built by NVRTC, linked with NVSHMEM where they need it. No GPU takes part.

An entry of the cache holds the cubin, its source, the options and the log of the compiler. A warm
build reads the versions of the wheels and the cache, and loads no compiler.
"""

from __future__ import annotations

import os
import shlex
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from nvrar_bench.errors import CompilerError
from nvrar_bench.toolchain import nvrtc, wheels
from nvrar_bench.toolchain.cache import content_key, find_or_build, is_there
from nvrar_bench.toolchain.host import Source
from nvrar_bench.toolchain.kernel import FixedSource, kernels_dir, sources_digest
from nvrar_bench.toolchain.resource_usage import ResourceUsage, read

_CUBIN = "kernel.cubin"
_LOG = "compiler.log"
_LOG_LINES = 12  # of a refusal: the first errors say most

_NVSHMEM_INCLUDE = '#include "fabric/nvshmem'
_CALLS_HEADER = "fabric/nvshmem_calls.cuh"


@dataclass(frozen=True)
class Built:
    """A kernel in the cache."""

    cubin: Path  # the machine code
    seconds: float  # that finding or building it took
    cached: bool  # whether it was there already

    @property
    def log(self) -> str:
        """What compiler and linker said; CompilerError where somebody took it out of the cache."""
        path = self.cubin.parent / _LOG
        try:
            return path.read_text()
        except OSError as error:
            raise CompilerError(
                f"{path}: {error.strerror}; remove {path.parent}, and it is built anew"
            ) from error

    def resource_usage(self) -> ResourceUsage:
        """Read what its kernels use (CompilerError)."""
        return read(self.cubin.read_bytes(), self.log)


# NVSHMEM's calls are apart from the kernels: its headers take longer to read than they do.
_CALLS = FixedSource("nvshmem-calls", f'#include "{_CALLS_HEADER}"\n')
_building_calls = threading.Lock()


def build(kernel: Source, arch: str) -> Built:
    """Build `kernel` for `arch`, unless the cache holds it.

    UsageError: the compiler does not know `arch`. CompilerError: it or a wheel is missing, or it
    refused the kernel. Unavailable: the cache folder cannot be written.
    """
    start = time.perf_counter()
    built_now = []

    def fill(folder: Path) -> None:
        built_now.append(folder)
        _fill(folder, kernel, arch)

    cubin = find_or_build(_entry_name(kernel, arch), _key(kernel, arch), _CUBIN, fill)
    return Built(cubin, time.perf_counter() - start, not built_now)


def is_built(kernel: Source, arch: str) -> bool:
    """Whether the cache holds `kernel` for `arch`; CompilerError where a wheel is missing."""
    return is_there(_entry_name(kernel, arch), _key(kernel, arch), _CUBIN)


def _entry_name(kernel: Source, arch: str) -> str:
    return f"{kernel.name}-{arch}"


def versions(kernels: Iterable[Source]) -> dict[str, str]:
    """What builds `kernels`, by name, for a report; CompilerError where a wheel is missing."""
    found = _wheels()
    nvshmem = {"nvshmem": _nvshmem().version} if any(map(_needs_nvshmem, kernels)) else {}
    return {"nvrtc": nvrtc.version(), **found.versions, **nvshmem}


def options(kernel: Source, arch: str) -> list[str]:
    """The options of NVRTC, less the folders of headers."""
    return [
        f"--gpu-architecture={arch}",
        "-std=c++17",
        "--ptxas-options=-v",
        *(["-rdc=true"] if _needs_nvshmem(kernel) else []),
        *(["-default-device"] if kernel == _CALLS else []),  # NVSHMEM 3.4 leaves one unmarked
    ]


def _needs_nvshmem(kernel: Source) -> bool:
    return _NVSHMEM_INCLUDE in kernel.source


def _key(kernel: Source, arch: str) -> str:
    found = _wheels()
    nvshmem = _nvshmem().version if _needs_nvshmem(kernel) else ""
    sources = sources_digest(kernels_dir())
    return content_key([kernel.source, sources, *options(kernel, arch), found.identity, nvshmem])


def _fill(folder: Path, kernel: Source, arch: str) -> None:
    """Build into an empty folder; what explains the binary lies beside it."""
    nvrtc.require_architecture(arch)
    (folder / "kernel.cu").write_text(kernel.source)
    (folder / "options.txt").write_bytes(os.fsencode(shlex.join(_all_options(kernel, arch)) + "\n"))
    compiled = _compiled(kernel, arch)
    if _needs_nvshmem(kernel) and kernel != _CALLS:
        compiled = _linked(kernel, arch, compiled)
    (folder / _LOG).write_text(compiled.log + "\n")
    (folder / _CUBIN).write_bytes(compiled.binary)


def _compiled(kernel: Source, arch: str) -> nvrtc.Compiled:
    try:
        return nvrtc.compile_source(kernel.source, f"{kernel.name}.cu", _all_options(kernel, arch))
    except nvrtc.Refused as refused:
        raise _refused("compiler", kernel, arch, refused) from refused


def _linked(kernel: Source, arch: str, compiled: nvrtc.Compiled) -> nvrtc.Compiled:
    objects = [(kernel.name, compiled.binary), *_calls(arch)]
    try:
        linked = nvrtc.link(arch, objects, _nvshmem().library)
    except nvrtc.Refused as refused:
        raise _refused("linker", kernel, arch, refused) from refused
    return nvrtc.Compiled(linked.binary, f"{compiled.log}\n{linked.log}")


def _calls(arch: str) -> list[tuple[str, bytes]]:
    """What kernels call of NVSHMEM, if the sources keep it apart: it is built once."""
    if not (kernels_dir() / _CALLS_HEADER).is_file():
        return []
    with _building_calls:
        return [(_CALLS.name, build(_CALLS, arch).cubin.read_bytes())]


def _refused(who: str, kernel: Source, arch: str, refused: nvrtc.Refused) -> CompilerError:
    lines = [line for line in str(refused).splitlines() if not line.startswith("ptxas info")]
    shown = "\n".join(lines[:_LOG_LINES])
    return CompilerError(f"the {who} refused kernel {kernel.name} for {arch}:\n{shown}")


def _all_options(kernel: Source, arch: str) -> list[str]:
    folders = [kernels_dir(), *_wheels().include_dirs]
    if _needs_nvshmem(kernel):
        folders.append(_nvshmem().include_dir)
    return [*options(kernel, arch), *(f"-I{folder}" for folder in folders)]


@cache
def _wheels() -> wheels.Wheels:
    return wheels.find()


@cache
def _nvshmem() -> wheels.Nvshmem:
    return wheels.find_nvshmem(_wheels().release)
