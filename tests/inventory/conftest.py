"""The fake and the stub driver of the cuda device's tests; programs that say what they are."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

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
