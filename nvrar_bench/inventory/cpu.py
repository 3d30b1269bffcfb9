"""The cpu device: cores, memory, the compiler of its kernels, and where they are kept."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from nvrar_bench.devices import machine
from nvrar_bench.errors import CompilerError, Unavailable
from nvrar_bench.inventory.probe import Finding, Probe, installed, missing
from nvrar_bench.problem import Problem, told
from nvrar_bench.programs import first_line
from nvrar_bench.units import gibibytes

_CPU = ("cpu",)
_ALL = ("cpu", "cuda")


def _cores() -> Finding:
    mine, all_of_them = len(os.sched_getaffinity(0)), os.cpu_count()
    return Finding(version=f"{mine} of {all_of_them} for this process", detail=machine.cpu_model())


def _quota() -> Finding | list[Finding]:
    """How much time the control group gives; no row where it sets no limit."""
    quota, mine = machine.cpu_quota(), len(os.sched_getaffinity(0))
    if quota is None:
        return []
    problem = machine.quota_problem(mine)
    return Finding("wrong" if problem else "here", f"the time of {quota:g} cores", problem=problem)


def _shm() -> Finding:
    """The room for MPI's shared memory."""
    problem = machine.shm_problem()
    try:
        free, size = machine.shm_room()
    except OSError:
        return Finding("missing", problem=problem)
    version = f"{free >> 20} MiB of {size >> 20} MiB free"
    return Finding("wrong" if problem else "here", version, path=machine.SHM, problem=problem)


def _memory() -> Finding:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Finding(
        version=f"{gibibytes(machine.available_memory())} of {gibibytes(total)} available"
    )


def _compiler() -> Finding:
    from nvrar_bench.toolchain import host

    try:
        found = host.compiler()
    except CompilerError as error:
        return missing(told(error))
    version = first_line([*found.command, "--version"])
    if not version:
        what = f"{shlex.join(found.command)} --version says nothing"
        fix = "name a C++ compiler that works in CXX"
        return Finding("wrong", path=str(found.binary), problem=Problem(what, fix))
    return Finding(version=version, path=str(found.binary))


def _headers() -> Finding:
    from nvrar_bench.toolchain import host

    versions = (f"{name} {installed(name) or 'not installed'}" for name in host.HEADER_WHEELS)
    try:
        folder = host.include_dirs()[0]
    except CompilerError as error:
        return missing(told(error))
    return Finding(version=", ".join(versions), path=str(folder))


def _cache() -> Finding:
    from nvrar_bench.toolchain import cache

    folder = cache.cache_dir()
    try:
        cache.require_usable()
    except Unavailable as error:
        return Finding("wrong", path=str(folder), problem=told(error))
    return Finding(detail=f"{_entries(folder)} kernels", path=str(folder))


def _entries(folder: Path) -> int:
    return sum(1 for path in folder.iterdir() if not path.name.startswith("."))


PROBES = (
    Probe("cpu device", "cores", _CPU, _cores),
    Probe("cpu device", "CPU quota", _CPU, _quota),
    Probe("cpu device", "memory", _CPU, _memory),
    Probe("cpu device", machine.SHM, _CPU, _shm),
    Probe("cpu device", "C++ compiler", _CPU, _compiler),
    Probe("cpu device", "header wheels", _CPU, _headers),
    Probe("cpu device", "kernel cache", _ALL, _cache),
)
