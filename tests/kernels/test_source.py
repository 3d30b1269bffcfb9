"""The kernels as C++: clean under every warning, and laid out as Python believes."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nvrar_bench.backends.nvrar.backend import PHASES
from nvrar_bench.backends.nvrar.layout import LINE_BYTES, PACKET_EXPANSION, SLICE_ALIGNMENT
from nvrar_bench.toolchain import host
from nvrar_bench.toolchain.kernel import START_GATE, Kernel, kernels_dir
from nvrar_bench.toolchain.structs import MAX_STEPS

SOURCES = [
    Kernel("float32", "sum", "signal", "host"),
    Kernel("int8", "prod", "signal", "host"),
    Kernel("float8_e4m3", "max", "signal", "host"),
    Kernel("float32", "avg", "packet", "host"),
    Kernel("bfloat16", "min", "packet", "host"),
    Kernel("uint64", "avg", "packet", "host"),
    START_GATE,
]


def compilers() -> list:
    """The one that is used, and Clang besides."""
    zig = [sys.executable, "-m", "ziglang", "c++"] if importlib.util.find_spec("ziglang") else None
    clang = [shutil.which("clang++")] if shutil.which("clang++") else zig
    missing = pytest.mark.skipif(clang is None, reason="neither clang++ nor ziglang is installed")
    return [pytest.param(None, id="default"), pytest.param(clang, id="clang", marks=missing)]


def build(source: Path, target: Path, *options: str, command: list[str] | None = None) -> str:
    """Compile with the CUDA headers as system headers; return what the compiler says."""
    system = [f"-isystem{folder}" for folder in host.include_dirs()]
    whole = [*(command or host.compiler().command), "-std=c++17", *options]
    done = subprocess.run(
        [*whole, f"-I{kernels_dir()}", *system, str(source), "-o", str(target)],
        capture_output=True,
        text=True,
    )
    return done.stderr if done.returncode else ""


@pytest.mark.parametrize("command", compilers())
@pytest.mark.parametrize("kernel", SOURCES, ids=lambda kernel: kernel.name)
def test_no_warning(tmp_path, kernel, command):
    source = tmp_path / "kernel.cpp"
    source.write_text(kernel.source)
    # Some warnings come from the optimiser, so it works as it does for users.
    options = [option for option in host._options("-O2") if option != "-w"]
    strict = (*options, "-Wall", "-Wextra", "-Werror")
    assert build(source, tmp_path / "kernel.so", *strict, command=command) == ""


def test_constants_agree_with_python(tmp_path):
    seen = run_cpp(
        tmp_path,
        [
            'say("steps", nvrar::kMaxSteps);',
            'say("expansion", nvrar::kExpansion);',
            'say("scatter", nvrar::kReduceScatter);',
            'say("exchange", nvrar::kExchange);',
            'say("gather", nvrar::kAllGather);',
        ],
    )
    assert LINE_BYTES % SLICE_ALIGNMENT == 0  # a region holds the largest slice
    assert seen == {
        "steps": MAX_STEPS, "expansion": PACKET_EXPANSION, "scatter": 1, "exchange": 2, "gather": 3
    }  # fmt: skip
    assert list(PHASES) == [1, 2, 3]


def run_cpp(folder: Path, lines: list[str]) -> dict[str, int]:
    """Run statements that `say` a name and a number."""
    source, program = folder / "say.cpp", folder / "say"
    source.write_text(
        "#include <cstddef>\n#include <cstdio>\n"
        '#include "fabric/host.cuh"\n#include "fabric/host_gate.cuh"\n#include "all_reduce.cuh"\n'
        'void say(const char* name, size_t value) { printf("%s %zu\\n", name, value); }\n'
        "int main() {\n" + "\n".join(lines) + "\n}\n"
    )
    assert build(source, program, "-w") == ""
    output = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    return {name: int(value) for name, value in map(str.split, output.splitlines())}
