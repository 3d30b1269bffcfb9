"""Ranks that torchrun starts, and a group of one rank in this process.

This folder is not called torch: where PyTorch is not installed, `import torch` would find it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ENVIRONMENT = {"OMP_NUM_THREADS": "1"}  # as torchrun sets it, but without its warning


@pytest.fixture
def run_torch(_jobs: Any) -> Any:
    """`run_torch(ranks, script, *arguments)`: a Python file on `ranks` ranks of torchrun."""

    def run(ranks: int, script: Path, *arguments: object) -> Any:
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        words = ["--nproc-per-node", ranks, script, *arguments]
        return _jobs.run([*torchrun, *map(str, words)], environment=ENVIRONMENT)

    return run


@pytest.fixture
def process_group() -> Iterator[None]:
    """torch.distributed in this process alone."""
    import torch.distributed as dist

    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.fixture
def group(process_group: None) -> Iterator[Any]:
    import nvrar_bench.torch

    with nvrar_bench.torch.Group() as group:
        yield group
