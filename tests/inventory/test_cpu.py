"""The cpu device: compiler, headers and cache as the toolchain finds them."""

from __future__ import annotations

import pytest

from nvrar_bench.errors import CompilerError
from nvrar_bench.inventory import cpu
from nvrar_bench.toolchain import host


@pytest.fixture(autouse=True)
def _fresh():
    for remembered in (host.compiler, host.include_dirs):
        remembered.cache_clear()
    yield
    for remembered in (host.compiler, host.include_dirs):
        remembered.cache_clear()


def test_this_machine():
    assert " for this process" in cpu._cores().version
    assert cpu._memory().version.count("GiB") == 2
    assert cpu._headers().status == "here"
    assert cpu._headers().version.count("nvidia-cuda-") == 3


def test_a_compiler_and_its_version(program, monkeypatch):
    folder = program("bin", "cc-1", "echo 'cc 1.2 (made up)'; echo more")
    monkeypatch.setenv("CXX", f"{folder}/cc-1 -O3")
    found = cpu._compiler()
    assert (found.status, found.version) == ("here", "cc 1.2 (made up)")
    assert found.path == str(folder / "cc-1")


def test_a_compiler_that_says_nothing(program, monkeypatch):
    mute = program("bin", "mute", "exit 1") / "mute"
    monkeypatch.setenv("CXX", str(mute))
    found = cpu._compiler()
    assert (found.status, found.problem.what) == ("wrong", f"{mute} --version says nothing")


def test_no_compiler(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    found = cpu._compiler()
    assert (found.status, found.problem.what) == (
        "missing", "CXX=no-such-compiler: no such program",
    )  # fmt: skip
    assert found.problem.fix.startswith("install one (Debian and Ubuntu: apt-get install g++")


def test_no_headers(monkeypatch):
    def none():
        raise CompilerError("they are missing")

    monkeypatch.setattr(host, "include_dirs", none)
    assert cpu._headers().status == "missing"
    monkeypatch.undo()


def test_a_cache_and_one_that_cannot_be_written(monkeypatch, tmp_path):
    monkeypatch.setenv("NVRAR_BENCH_CACHE", str(tmp_path / "kernels"))
    found = cpu._cache()
    assert (found.status, found.detail) == ("here", "0 kernels")
    assert list((tmp_path / "kernels").iterdir()) == []
    monkeypatch.setenv("NVRAR_BENCH_CACHE", "/dev/null/x")
    found = cpu._cache()
    assert (found.status, found.path) == ("wrong", "/dev/null/x")
    assert found.problem.fix == "set NVRAR_BENCH_CACHE to a folder that can"
