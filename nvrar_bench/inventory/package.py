"""This package, Python, and what the package cannot do without."""

from __future__ import annotations

import importlib
import os
import platform
import sys
from functools import partial
from pathlib import Path

import nvrar_bench
from nvrar_bench.inventory.probe import Finding, Probe, installed, missing
from nvrar_bench.problem import Problem

_ALL = ("cpu", "cuda")


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
    name = platform.freedesktop_os_release().get("PRETTY_NAME") if _has_release() else None
    return Finding(version=" ".join(words), detail=name)


def _has_release() -> bool:
    return any(os.path.isfile(path) for path in ("/etc/os-release", "/usr/lib/os-release"))


def module(name: str, distribution: str) -> Finding:
    """A package that must load."""
    number = installed(distribution)
    if number is None:
        return missing(Problem("not installed", f"pip install {distribution}"))
    try:
        path = importlib.import_module(name).__file__
    except Exception as error:  # of whatever kind: it does not load
        what = f"it cannot be loaded ({error})"
        fix = f"pip install --force-reinstall {distribution}"
        return Finding("wrong", version=number, problem=Problem(what, fix))
    return Finding(version=number, path=path and str(Path(path).parent))


PROBES = (
    Probe("package", "nvrar-bench", _ALL, _package),
    Probe("package", "kernel sources", _ALL, _kernels),
    Probe("package", "numpy", _ALL, partial(module, "numpy", "numpy")),
    Probe("package", "ml_dtypes", _ALL, partial(module, "ml_dtypes", "ml_dtypes")),
    Probe("Python", "Python", _ALL, _python),
    Probe("Python", "operating system", _ALL, _system),
)
