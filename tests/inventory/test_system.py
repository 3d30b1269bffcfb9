"""The package, Python, modules that do not load; compiler, headers and cache of the cpu device."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

import nvrar_bench
from nvrar_bench.errors import CompilerError
from nvrar_bench.inventory import system
from nvrar_bench.inventory.system import module
from nvrar_bench.toolchain import host, wheels


def row(name):
    (taken,) = next(one for one in system.PROBES if one.name == name).take()
    return taken


def test_this_installation():
    probes = [probe for probe in system.PROBES if probe.group in ("package", "Python")]
    rows = [row for probe in probes for row in probe.take()]
    assert [row.status for row in rows] == ["here"] * len(rows)
    assert rows[0].version == nvrar_bench.__version__


def test_kernel_sources_that_are_not_there(monkeypatch):
    monkeypatch.setenv("NVRAR_BENCH_KERNELS", "/nowhere")
    found = row("kernel sources")
    assert (found.status, found.problem) == (
        "wrong", "NVRAR_BENCH_KERNELS=/nowhere: no such folder; unset it or name one",
    )  # fmt: skip


def test_a_module_that_does_not_load(tmp_path, monkeypatch):
    (tmp_path / "brokenmodule.py").write_text("raise OSError('libblas.so.3: cannot open')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = module("brokenmodule", "numpy")
    assert (found.status, found.problem) == (
        "wrong",
        "it cannot be loaded (libblas.so.3: cannot open): pip install --force-reinstall numpy",
    )
    assert "brokenmodule" not in sys.modules


def test_a_module_that_is_not_installed():
    found = module("nowhere", "no-such-package")
    assert found.problem == "not installed: pip install no-such-package"


@pytest.fixture(autouse=True)
def _fresh():
    for remembered in (host.compiler, wheels.include_dirs):
        remembered.cache_clear()
    yield
    for remembered in (host.compiler, wheels.include_dirs):
        remembered.cache_clear()


def test_this_machine():
    assert " for this process" in system._cores().version
    assert system._memory().version.count("GiB") == 2
    assert system._headers().status == "here"
    assert system._headers().version.count("nvidia-cuda-") == 3


def test_a_compiler_and_its_version(program, monkeypatch):
    folder = program("bin", "cc-1", "echo 'cc 1.2 (made up)'; echo more")
    monkeypatch.setenv("CXX", f"{folder}/cc-1 -O3")
    found = system._compiler()
    assert (found.status, found.version) == ("here", "cc 1.2 (made up)")
    assert found.path == str(folder / "cc-1")


def test_a_compiler_that_says_nothing(program, monkeypatch):
    mute = program("bin", "mute", "exit 1") / "mute"
    monkeypatch.setenv("CXX", str(mute))
    found = system._compiler()
    assert (found.status, found.problem.what) == ("wrong", f"{mute} --version says nothing")


def test_no_compiler(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    found = row("C++ compiler")
    assert (found.status, found.problem) == ("missing", "CXX=no-such-compiler: no such program")
    assert found.fix.startswith("install one (Debian and Ubuntu: apt-get install g++")


def test_no_headers(monkeypatch):
    def none():
        raise CompilerError("they are missing")

    monkeypatch.setattr(host, "include_dirs", none)
    assert row("header wheels").status == "missing"
    monkeypatch.undo()


def test_a_cache_and_one_that_cannot_be_written(monkeypatch, tmp_path):
    monkeypatch.setenv("NVRAR_BENCH_CACHE", str(tmp_path / "kernels"))
    found = system._cache()
    assert (found.status, found.detail) == ("here", "0 kernels")
    assert list((tmp_path / "kernels").iterdir()) == []
    monkeypatch.setenv("NVRAR_BENCH_CACHE", "/dev/null/x")
    found = system._cache()
    assert (found.status, found.path) == ("wrong", "/dev/null/x")
    assert found.problem.fix == "set NVRAR_BENCH_CACHE to a folder that can"


@pytest.mark.parametrize(("copied", "problem"), [(1, None), (-1, "--cap-add=SYS_PTRACE")])
def test_whether_ranks_may_read_each_others_memory(monkeypatch, copied, problem):
    libc = SimpleNamespace(process_vm_readv=lambda *_: copied)
    monkeypatch.setattr(system.ctypes, "CDLL", lambda *_, **__: libc)
    assert getattr(system._attach().problem, "fix", "None").endswith(str(problem))
