"""Compilers that are scripts, and a cache of the test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nvrar_bench.toolchain import host, kernel


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty kernel cache, which does not exist yet."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("NVRAR_BENCH_CACHE", str(folder))
    return folder


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    """What is kept for the life of a process is looked up anew in every test."""
    for remembered in (host.compiler, kernel.sources_digest):
        remembered.cache_clear()
    yield
    for remembered in (host.compiler, kernel.sources_digest):
        remembered.cache_clear()


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """`script(text)`: name a shell script as the compiler; its last argument is the library."""

    def make(text: str, name: str = "cc") -> Path:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        monkeypatch.setenv("CXX", str(path))
        host.compiler.cache_clear()
        return path

    return make
