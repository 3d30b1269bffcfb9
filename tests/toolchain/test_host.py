"""The host compiler: finding it, running it, and what it says when it fails."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from nvrar_bench.backends.nvrar.backend import NvrarBackend
from nvrar_bench.backends.nvrar.cpu import HostEngine
from nvrar_bench.devices.cpu import CpuDevice
from nvrar_bench.errors import CompilerError
from nvrar_bench.settings.plans import build_plan
from nvrar_bench.toolchain import host, wheels
from nvrar_bench.toolchain.kernel import START_GATE, Kernel, kernels_dir

FIX = (
    "install one (Debian and Ubuntu: apt-get install g++; anywhere: pip install ziglang), "
    "or name it in CXX"
)
WRITES = 'for last; do :; done; echo made > "$last"'


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """`programs(names)`: PATH leads to these alone, and CXX names nothing."""
    monkeypatch.delenv("CXX", raising=False)

    def make(*names: str) -> Path:
        folder = tmp_path / "bin"
        folder.mkdir()
        for name in names:
            (folder / name).write_text("#!/bin/sh\n")
            (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(folder))
        return folder

    return make


@pytest.fixture
def no_zig(monkeypatch):
    monkeypatch.setattr(host.importlib.util, "find_spec", lambda name: None)


# ---- which one ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["clang++", "g++", "c++"], "c++"),
        (["clang++", "g++"], "g++"),
        (["clang++", "cc", "gcc"], "clang++"),
    ],
)
def test_the_first_compiler_on_path(programs, names, found):
    folder = programs(*names)
    assert host.compiler().command == (str(folder / found),)


def test_cxx_comes_before_path_and_may_have_options(programs, tmp_path, monkeypatch):
    folder = programs("c++", "mine")
    monkeypatch.setenv("CXX", "mine -m64 '-DTEXT=a b'")
    assert host.compiler().command == ("mine", "-m64", "-DTEXT=a b")
    assert host.compiler().binary == folder / "mine"


def test_cxx_that_names_nothing_is_not_passed_over(programs, monkeypatch):
    programs("c++")
    monkeypatch.setenv("CXX", "no-such-compiler -O1")
    with pytest.raises(CompilerError) as caught:
        host.compiler()
    assert str(caught.value) == f"CXX=no-such-compiler: no such program; {FIX}"


def test_no_compiler_at_all(programs, no_zig):
    programs("gcc", "make")
    with pytest.raises(CompilerError) as caught:
        host.compiler()
    assert str(caught.value) == f"no C++ compiler was found for the CPU kernels: {FIX}"


def test_zig_where_nothing_else_is(programs, monkeypatch, tmp_path):
    programs()
    (tmp_path / "ziglang").mkdir()
    (tmp_path / "ziglang" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    # Not `python -m ziglang`, which looks into the current folder first.
    assert host.compiler().command == (str(tmp_path / "ziglang" / "zig"), "c++")
    host.compiler.cache_clear()
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{tmp_path}")
    (tmp_path / "g++").write_text("#!/bin/sh\n")
    (tmp_path / "g++").chmod(0o755)
    assert host.compiler().command == (str(tmp_path / "g++"),)


@pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="ziglang is not installed")
def test_zig_builds_kernels_that_run(programs, cache, alone):
    programs()
    assert Path(host.compiler().command[0]).name == "zig"
    backend = NvrarBackend(alone, HostEngine(alone, CpuDevice(alone, 5.0)), 5.0)
    (case,) = build_plan(counts=(100,))
    send, recv = np.arange(100, dtype=np.float32), np.zeros(100, np.float32)
    backend.prepare(case, send, recv).launch()
    assert np.array_equal(send, recv)
    assert "/zig c++" in next(cache.glob("float32-*/command.txt")).read_text()


def test_the_version_is_the_first_line_or_else_the_command(script):
    path = script("echo 'CC 1.2 (built today)'; echo more")
    assert host.compiler().version() == "CC 1.2 (built today)"
    path.write_text("#!/bin/sh\n")
    assert host.compiler().version() == str(path)


# ---- building ----------------------------------------------------------------------------------


def test_an_entry_holds_the_source_and_the_command(cache, script):
    compiler = script(WRITES)
    kernel = Kernel("float32", "sum", "signal", "host")
    library = host.build(kernel)
    assert library.read_text() == "made\n"
    assert library.parent.parent == cache
    assert library.parent.name.startswith("float32-sum-signal-host-")
    assert (library.parent / "kernel.cpp").read_text() == kernel.source
    command = (library.parent / "command.txt").read_text()
    assert command.startswith(f"{compiler} -std=c++17 ")
    assert f"-I{kernels_dir()} " in command


def test_a_kernel_is_compiled_once(cache, script, tmp_path):
    script(f"echo run >> {tmp_path}/runs; {WRITES}")
    assert len({host.build(START_GATE) for _ in range(3)}) == 1
    assert (tmp_path / "runs").read_text() == "run\n"


def test_what_goes_into_a_kernel_goes_into_its_key(cache, script, tmp_path, monkeypatch):
    compiler = script(WRITES)
    paths = [host.build(START_GATE)]

    def built_anew() -> bool:
        paths.append(host.build(START_GATE))
        return len(set(paths)) == len(paths)

    compiler.write_text(compiler.read_text() + "# a new version\n")
    assert built_anew()
    monkeypatch.setenv("CXX", f"{compiler} -m64")
    host.compiler.cache_clear()
    assert built_anew()
    shutil.copytree(kernels_dir(), tmp_path / "kernels")
    wait = tmp_path / "kernels" / "wait.cuh"
    wait.write_text(wait.read_text().replace("i < 8", "i < 9"))
    monkeypatch.setenv("NVRAR_BENCH_KERNELS", str(tmp_path / "kernels"))
    assert built_anew()
    monkeypatch.setattr(host, "_options", lambda level: ["-std=c++17"])
    assert built_anew()
    monkeypatch.setattr(host, "_headers_identity", lambda: "other wheels")
    assert built_anew()
    monkeypatch.setattr(host, "processor", lambda: "another CPU")
    assert built_anew()
    assert not built_anew()  # nothing has changed


def test_headers_of_one_version_are_the_same_in_each_environment(tmp_path, monkeypatch):
    def identity(environment: str, version: str) -> str:
        site = tmp_path / environment
        include = site / "nvidia" / "cu13" / "include"
        include.mkdir(parents=True)
        for wheel in host.HEADER_WHEELS:
            (site / f"{wheel.replace('-', '_')}-{version}.dist-info").mkdir()
        monkeypatch.setattr(host, "include_dirs", lambda: (include, include / "cccl"))
        return host._headers_identity.__wrapped__()

    first = identity("a", "13.0.88")
    assert identity("b", "13.0.88") == first
    assert identity("c", "13.5.37") != first


def test_all_at_once_come_back_in_their_order(cache, script):
    script(WRITES)
    kernels = [Kernel(dtype, "sum", "signal", "host") for dtype in ("int8", "float32", "uint64")]
    paths = host.build_all(kernels)
    names = [path.parent.name.rsplit("-", 1)[0] for path in paths]
    assert names == [kernel.name for kernel in kernels]


# ---- failing -----------------------------------------------------------------------------------


def test_a_compiler_that_fails_is_quoted_in_a_few_lines(cache, script):
    compiler = script('for i in $(seq 1 40); do echo "error $i" >&2; done; exit 1')
    with pytest.raises(CompilerError) as caught:
        host.build(Kernel("int8", "max", "packet", "host"))
    first, *quoted = str(caught.value).splitlines()
    assert first.startswith(
        f"the compiler refused kernel int8-max-packet-host: {compiler} -std=c++17 "
    )
    assert quoted == [f"error {i}" for i in range(1, 13)]
    assert list(cache.iterdir()) == []


def test_a_compiler_that_cannot_be_run(cache, script):
    compiler = script("")
    compiler.write_bytes(b"\x7fELF and no more")
    with pytest.raises(CompilerError) as caught:
        host.build(START_GATE)
    assert str(caught.value) == f"{compiler}: Exec format error"
    assert list(cache.iterdir()) == []


def test_missing_headers_name_the_wheels(monkeypatch):
    wheels.include_dirs.cache_clear()
    monkeypatch.setattr(wheels.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CompilerError, match=r"reinstall nvidia-cuda-runtime nvidia-cuda-crt "):
        host.include_dirs()
    wheels.include_dirs.cache_clear()


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"CXX": "no-such-compiler"}, "CXX=no-such-compiler: no such program; install one"),
        ({"CXX": "false"}, "the compiler refused kernel start-gate-host: false -std=c++17"),
        ({"NVRAR_BENCH_CACHE": "/dev/null/x"}, "the kernel cache /dev/null/x cannot be written"),
        ({"NVRAR_BENCH_KERNELS": "/nowhere"}, "NVRAR_BENCH_KERNELS=/nowhere: no such folder"),
    ],
    ids=["no compiler", "it fails", "no cache", "no sources"],
)
def test_the_command_says_so_once_and_ends_with_5(run_command, tmp_path, variables, message):
    environment = {"NVRAR_BENCH_CACHE": str(tmp_path / "cache"), **variables}
    done = run_command(
        "sweep", "--ranks", 2, "--sizes", 4096, "--backend", "nvrar", environment=environment
    )
    assert done.code == 5
    assert done.stderr.count("nvrar-bench: error: ") == 1
    assert f"nvrar-bench: error: {message}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_kernel_is_loaded_and_run(cache, alone):
    """The real compiler, whichever that is here."""
    gate = CpuDevice(alone, 1.0).start_gate()
    gate()
    assert [path.name.rsplit("-", 1)[0] for path in cache.iterdir()] == ["start-gate-host"]
    assert os.access(next(cache.glob("*/kernel.so")), os.R_OK)
