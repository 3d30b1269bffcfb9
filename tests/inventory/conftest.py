"""The fake and the stub driver of the cuda device's tests; programs that say what they are."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nvrar_bench.inventory import network

HERE = Path(__file__).resolve().parent
sys.path += [str(HERE), str(HERE.parent / "devices" / "cuda")]


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., Path]:
    """`program("bin", "mpirun", "echo it")`: a script in a folder; returns the folder."""

    def make(folder: str, name: str, script: str) -> Path:
        path = tmp_path / folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path.parent

    return make


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """A folder in the place of /sys/class and /dev."""
    monkeypatch.setattr(network, "_ADAPTERS", tmp_path / "infiniband")
    monkeypatch.setattr(network, "_SLINGSHOT", tmp_path / "cxi")
    monkeypatch.setattr(network, "_DEVICES", tmp_path / "dev")
    return tmp_path
