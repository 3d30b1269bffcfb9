"""This package and its kernels, Python, cores, memory, and the compiler of the cpu device."""

from __future__ import annotations

import ctypes
import importlib
import os
import platform
import shlex
import sys
from functools import partial
from pathlib import Path

import nvrar_bench
from nvrar_bench.bounded import first_line
from nvrar_bench.devices import machine
from nvrar_bench.errors import Problem, Unavailable, problem_of
from nvrar_bench.files import installed
from nvrar_bench.inventory import Finding, Probe, missing
from nvrar_bench.units import gibibytes

_ALL = ("cpu", "cuda")
_CPU = ("cpu",)


def _package() -> Finding:
    folder = str(Path(nvrar_bench.__file__).parent)
    return Finding(version=nvrar_bench.__version__, path=folder)


def _kernels() -> Finding:
    from nvrar_bench.toolchain.kernel import kernels_dir, sources_digest

    folder = kernels_dir()
    return Finding(detail=f"SHA-256 {sources_digest(folder)[:12]}", path=str(folder))


def _python() -> Finding:
    return Finding(version=platform.python_version(), path=sys.executable)


def _system() -> Finding:
    words = (platform.system(), platform.release(), platform.machine())
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME")
    except OSError:  # it has no os-release file
        name = None
    return Finding(version=" ".join(words), detail=name)


def module(name: str, distribution: str) -> Finding:
    """A package that must load."""
    number = installed(distribution)
    if number is None:
        return missing("not installed", f"pip install {distribution}")
    try:
        path = importlib.import_module(name).__file__
    except Exception as error:  # of whatever kind: it does not load
        what = f"it cannot be loaded ({error})"
        fix = f"pip install --force-reinstall {distribution}"
        return Finding("wrong", version=number, problem=Problem(what, fix))
    return Finding(version=number, path=path and str(Path(path).parent))


def _cores() -> Finding:
    # A launcher or a container may have bound this process to a few.
    mine, all_of_them = len(os.sched_getaffinity(0)), os.cpu_count()
    return Finding(version=f"{mine} of {all_of_them} for this process", detail=machine.cpu_model())


def _quota() -> Finding | list[Finding]:
    """How much time the control group gives; no row where it sets no limit."""
    quota, mine = machine.cpu_quota(), len(os.sched_getaffinity(0))
    if quota is None:
        return []
    return Finding(version=f"the time of {quota:g} cores", problem=machine.quota_problem(mine))


def _shm() -> Finding:
    """The room for MPI's shared memory."""
    problem = machine.shm_problem()
    try:
        free, size = machine.shm_room()
    except OSError:
        return Finding("missing", problem=problem)
    version = f"{free >> 20} MiB of {size >> 20} MiB free"
    return Finding(version=version, path=machine.SHM, problem=problem)


class _Place(ctypes.Structure):
    """struct iovec: bytes in memory."""

    _fields_ = (("address", ctypes.c_void_p), ("nbytes", ctypes.c_size_t))


def _attach() -> Finding:
    """Whether ranks may read each other's memory, as MPI does with large messages; NVRAR does not.

    A filter of system calls refuses a process its own memory as well.
    """
    # Of its own memory, which needs no second process: what is refused here is refused there.
    library, byte = ctypes.CDLL(None, use_errno=True), ctypes.c_char()
    place = ctypes.byref(_Place(ctypes.addressof(byte), 1))
    if library.process_vm_readv(os.getpid(), place, 1, place, 1, 0) == 1:
        return Finding(detail="process_vm_readv is allowed")
    what = (
        f"process_vm_readv is refused ({os.strerror(ctypes.get_errno())}): MPI copies large "
        "messages twice, which makes it slower beside NVRAR"
    )
    fix = "in a container, start it with --cap-add=SYS_PTRACE"
    return Finding(problem=Problem(what, fix))


def _memory() -> Finding:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Finding(
        version=f"{gibibytes(machine.available_memory())} of {gibibytes(total)} available"
    )


def _compiler() -> Finding:
    from nvrar_bench.toolchain import host

    found = host.compiler()
    version = first_line([*found.command, "--version"])
    if not version:
        what = f"{shlex.join(found.command)} --version says nothing"
        fix = "name a C++ compiler that works in CXX"
        return Finding("wrong", path=str(found.binary), problem=Problem(what, fix))
    return Finding(version=version, path=str(found.binary))


def _headers() -> Finding:
    from nvrar_bench.toolchain import host

    versions = (f"{name} {installed(name) or 'not installed'}" for name in host.HEADER_WHEELS)
    return Finding(version=", ".join(versions), path=str(host.include_dirs()[0]))


def _cache() -> Finding:
    from nvrar_bench.toolchain import cache

    folder = cache.cache_dir()
    try:
        cache.require_usable()
    except Unavailable as error:
        return Finding("wrong", path=str(folder), problem=problem_of(error))
    entries = sum(1 for path in folder.iterdir() if not path.name.startswith("."))
    return Finding(detail=f"{entries} kernels", path=str(folder))


def able() -> None:
    """MPI, and the kernel that every run on CPU ranks loads first."""
    from nvrar_bench.launch.initialize import load_mpi
    from nvrar_bench.toolchain import host
    from nvrar_bench.toolchain.kernel import START_GATE

    load_mpi()
    host.load(host.build(START_GATE))


PROBES = (
    Probe("package", "nvrar-bench", _ALL, _package),
    Probe("package", "kernel sources", _ALL, _kernels),
    Probe("package", "numpy", _ALL, partial(module, "numpy", "numpy")),
    Probe("package", "ml_dtypes", _ALL, partial(module, "ml_dtypes", "ml_dtypes")),
    Probe("Python", "Python", _ALL, _python),
    Probe("Python", "operating system", _ALL, _system),
    Probe("cpu device", "cores", _CPU, _cores),
    Probe("cpu device", "CPU quota", _CPU, _quota),
    Probe("cpu device", "memory", _CPU, _memory),
    Probe("cpu device", machine.SHM, _CPU, _shm),
    Probe("cpu device", "cross-memory attach", _CPU, _attach),
    Probe("cpu device", "C++ compiler", _CPU, _compiler, refused="missing"),
    Probe("cpu device", "header wheels", _CPU, _headers, refused="missing"),
    Probe("cpu device", "kernel cache", _ALL, _cache),
)
