"""Kernels for CPU ranks: built by the host's C++ compiler, loaded as shared libraries."""

from __future__ import annotations

import ctypes
import errno
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

from nvrar_bench.bounded import first_line
from nvrar_bench.errors import CompilerError, Problem
from nvrar_bench.toolchain import wheels
from nvrar_bench.toolchain.cache import CACHE_VARIABLE, content_key, find_or_build, not_loaded
from nvrar_bench.toolchain.kernel import kernels_dir, sources_digest

# Those of the base dependencies, whatever CUDA is installed for GPUs.
_RELEASE = wheels.RELEASES[13]
HEADER_WHEELS = _RELEASE.headers
_LIBRARY = "kernel.so"
_NATIVE = {"x86_64": ["-march=native"], "aarch64": ["-mcpu=native"]}
_FIX = (
    "install one (Debian and Ubuntu: apt-get install g++; anywhere: pip install ziglang), "
    "or name it in CXX"
)


class Source(Protocol):
    """What can be built: a name for people and the text for the compiler."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def source(self) -> str:
        """The text for the compiler."""


@dataclass(frozen=True)
class Compiler:
    """A C++ compiler: the command that runs it, and the file that changes when it does."""

    command: tuple[str, ...]
    binary: Path

    @property
    def identity(self) -> str:
        """Tells two compilers apart without running them, which would cost a warm start."""
        status = self.binary.stat()
        return f"{shlex.join(self.command)} {status.st_size} {status.st_mtime_ns}"

    def version(self) -> str:
        """First line of `--version`, for the record."""
        return first_line([*self.command, "--version"]) or shlex.join(self.command)


@cache
def compiler() -> Compiler:
    """Find $CXX, else c++, g++ or clang++ on PATH, else the ziglang wheel (CompilerError)."""
    named = _named()
    if named:
        found = shutil.which(named[0])
        if found is None:
            raise CompilerError(Problem(f"CXX={named[0]}: no such program", _FIX, "; "))
        return Compiler(tuple(named), Path(found))
    for candidate in ("c++", "g++", "clang++"):
        found = shutil.which(candidate)
        if found:
            # Debian's c++ is a link to a link: the file behind both is what an upgrade changes.
            return Compiler((found,), Path(found).resolve())
    zig = importlib.util.find_spec("ziglang")
    if zig and zig.origin:
        return Compiler((str(Path(zig.origin).with_name("zig")), "c++"), Path(zig.origin))
    raise CompilerError(Problem("no C++ compiler was found for the CPU kernels", _FIX))


def _named() -> list[str]:
    text = os.environ.get("CXX", "")
    try:
        return shlex.split(text)
    except ValueError as error:
        raise CompilerError(Problem(f"CXX={text}: {error}", _FIX, "; ")) from error


def include_dirs() -> tuple[Path, ...]:
    """Folders of the CUDA headers that the base dependencies bring (CompilerError)."""
    return wheels.include_dirs(_RELEASE)


@cache
def _headers_identity() -> str:
    """Tells two versions of the header wheels apart, the same in each environment that has them."""
    runtime, cccl = include_dirs()[:2]
    names = [f"{wheel.replace('-', '_')}-*.dist-info" for wheel in HEADER_WHEELS]
    versions = [found.name for name in names for found in runtime.parents[2].glob(name)]
    if len(versions) == len(names):
        return " ".join(versions)
    # They were not installed as wheels.
    probes = (runtime / "cuda_fp16.h", runtime / "cuda_fp8.hpp", cccl / "cuda" / "std" / "atomic")
    return " ".join(f"{probe.stat().st_size} {probe.stat().st_mtime_ns}" for probe in probes)


def _options(level: str) -> list[str]:
    # Other processors get what every one of their kind has.
    native = _NATIVE.get(platform.machine(), [])
    return ["-std=c++17", level, "-ftree-vectorize", "-fPIC", "-shared", "-w", *native]


@cache
def processor() -> str:
    """What -march=native depends on: model and flags of the first CPU."""
    try:
        text = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return platform.processor()
    # Not the clock, nor the number of the core: those differ between equal processors.
    wanted = ("vendor_id", "cpu family", "model", "flags", "Features", "CPU part")
    return "\n".join(line for line in text.splitlines() if line.startswith(wanted))


def include_flags() -> list[str]:
    """Return what names the folders of the kernels and of the CUDA headers."""
    return [f"-I{folder}" for folder in (kernels_dir(), *include_dirs())]


def _compile(kernel: Source, folder: Path, level: str) -> None:
    source = folder / "kernel.cpp"
    source.write_text(kernel.source)
    files = [str(source), "-o", str(folder / _LIBRARY)]
    command = [*compiler().command, *_options(level), *include_flags(), *files]
    (folder / "command.txt").write_bytes(os.fsencode(shlex.join(command) + "\n"))
    english = {**os.environ, "LC_ALL": "C"}  # for `_require_space`
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, errors="replace", env=english
        )
    except OSError as error:
        raise CompilerError(f"{shlex.join(compiler().command)}: {error.strerror}") from error
    if result.returncode:
        _require_space(result.stderr, kernel)
        shown = "\n".join(result.stderr.strip().splitlines()[:12])
        raise CompilerError(
            f"the compiler refused kernel {kernel.name}: {shlex.join(command)}\n{shown}"
        )


def _require_space(stderr: str, kernel: Source) -> None:
    reasons = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT))
    lines = [line for line in stderr.splitlines() if any(reason in line for reason in reasons)]
    if lines:
        what = f"the compiler could not write kernel {kernel.name} ({lines[0].strip()})"
        fix = (
            f"free space there, or set {CACHE_VARIABLE}, and TMPDIR for the compiler's own files, "
            "to other folders"
        )
        raise CompilerError(Problem(what, fix))


def build(kernel: Source, level: str = "-O2") -> Path:
    """Compile `kernel`, unless the cache holds it, and return its shared library.

    `level` is the compiler's, of optimisation: less of it compiles sooner. CompilerError: there is
    no compiler, no CUDA headers, or the source was refused. Unavailable: the cache folder cannot be
    written.
    """
    facts = [
        kernel.source,
        sources_digest(kernels_dir()),
        compiler().identity,
        " ".join(_options(level)),
        _headers_identity(),
        processor(),
    ]
    return find_or_build(
        kernel.name, content_key(facts), _LIBRARY, lambda folder: _compile(kernel, folder, level)
    )


def build_all(kernels: Sequence[Source]) -> list[Path]:
    """Build `kernels`, as many at a time as this process has cores; as `build`."""
    # Threads will do: each waits for a compiler, which is a process of its own.
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return list(pool.map(build, kernels))


def load(library: Path) -> ctypes.CDLL:
    """Load a library that `build` returned. Its functions release the GIL while they run.

    Unavailable: the folder of the cache allows no code, or the file is none.
    """
    try:
        return ctypes.CDLL(str(library))
    except OSError as error:
        raise not_loaded(library, error) from error


def load_bytes(library: bytes) -> ctypes.CDLL:
    """Load a library that another machine has built; this one may have no folder to keep it in."""
    # It stays open: the loader takes a second library of the same name for the first.
    file = os.memfd_create(_LIBRARY)
    with open(file, "wb", closefd=False) as memory:
        memory.write(library)
    return load(Path(f"/proc/self/fd/{file}"))
