"""NVRTC and nvJitLink: text in, machine code and log out. Neither needs a GPU or a driver.

They are loaded at the first call; what is in the cache is used without them.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from nvrar_bench.errors import CompilerError, Problem, UsageError


@dataclass(frozen=True)
class Compiled:
    """What a compiler made, and what it said."""

    binary: bytes
    log: str


class Refused(Exception):
    """The compiler or the linker refused its input; the text is its log."""


def architectures() -> tuple[str, ...]:
    """GPU architectures that this NVRTC compiles for, such as `sm_90`."""
    nvrtc = _load("nvrtc")
    return tuple(f"sm_{number}" for number in _done(nvrtc, nvrtc.nvrtcGetSupportedArchs()))


def require_architecture(arch: str) -> None:
    """Refuse an architecture that NVRTC does not know (UsageError)."""
    allowed = architectures()
    if arch not in allowed:
        raise UsageError(f"--arch {arch}: allowed: {', '.join(allowed)}")


def version() -> str:
    """The version of NVRTC, such as `13.5`."""
    nvrtc = _load("nvrtc")
    major, minor = _done(nvrtc, nvrtc.nvrtcVersion())
    return f"{major}.{minor}"


def linker_version() -> str:
    """The version of nvJitLink, such as `13.5`."""
    return ".".join(map(str, _load("nvjitlink").version()))


def compile_source(source: str, name: str, options: Sequence[str]) -> Compiled:
    """Compile C++ to a cubin (Refused)."""
    nvrtc = _load("nvrtc")
    program = _done(nvrtc, nvrtc.nvrtcCreateProgram(source.encode(), name.encode(), 0, [], []))
    try:
        encoded = [os.fsencode(option) for option in options]
        (status,) = nvrtc.nvrtcCompileProgram(program, len(encoded), encoded)
        log = _fetched(nvrtc, "ProgramLog", program).decode(errors="replace")
        log = log.replace("\0", "").strip()
        if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            raise Refused(log or status.name)
        return Compiled(_fetched(nvrtc, "CUBIN", program), log)
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def link(arch: str, objects: Sequence[tuple[str, bytes]], library: Path) -> Compiled:
    """Link named relocatable cubins with a library of device code to one cubin (Refused)."""
    nvjitlink = _load("nvjitlink")
    handle = nvjitlink.create(2, [f"-arch={arch}", "-verbose"])
    try:
        for name, cubin in objects:
            nvjitlink.add_data(handle, nvjitlink.InputType.CUBIN, cubin, len(cubin), name)
        nvjitlink.add_file(handle, nvjitlink.InputType.LIBRARY, str(library))
        nvjitlink.complete(handle)
        binary = bytearray(nvjitlink.get_linked_cubin_size(handle))
        nvjitlink.get_linked_cubin(handle, binary)
        return Compiled(bytes(binary), _link_log(nvjitlink, handle, "info"))
    except nvjitlink.nvJitLinkError as error:
        raise Refused(_link_log(nvjitlink, handle, "error") or str(error)) from error
    finally:
        nvjitlink.destroy(handle)


def _link_log(nvjitlink: ModuleType, handle: int, kind: str) -> str:
    log = bytearray(getattr(nvjitlink, f"get_{kind}_log_size")(handle))
    if log:
        getattr(nvjitlink, f"get_{kind}_log")(handle, log)
    return log.decode(errors="replace").replace("\0", "").strip()


def _fetched(nvrtc: ModuleType, what: str, program: Any) -> bytes:
    """Call nvrtcGet<what>Size and nvrtcGet<what>."""
    size = _done(nvrtc, getattr(nvrtc, f"nvrtcGet{what}Size")(program))
    # The binding writes into these bytes. Python shares objects of one byte or none: none of those.
    buffer = bytes(size + 2)
    _done(nvrtc, getattr(nvrtc, f"nvrtcGet{what}")(program, buffer))
    return buffer[:size]


def _done(nvrtc: ModuleType, returned: tuple[Any, ...]) -> Any:
    """Unpack (status, values...): nothing, the value, or a list of the values."""
    status, *values = returned
    if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        raise CompilerError(f"NVRTC failed: {status.name}")
    return values[0] if len(values) == 1 else values


def _load(name: str) -> ModuleType:
    """Import a binding and make it load its library (CompilerError)."""
    try:
        module = importlib.import_module(f"cuda.bindings.{name}")
        module.nvrtcVersion() if name == "nvrtc" else module.version()
    except (ImportError, OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        what = f"cuda.bindings.{name} cannot be loaded ({reason})"
        raise CompilerError(Problem(what, "pip install 'nvrar-bench[cuda13]'")) from error
    return module
