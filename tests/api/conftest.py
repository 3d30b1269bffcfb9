"""Backends for Python, in a world of one rank."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nvrar_bench.api.all_reduce import AllReduce
from nvrar_bench.api.caller import HostCaller
from nvrar_bench.backends.nvrar.backend import NvrarBackend
from nvrar_bench.backends.nvrar.cpu import HostEngine
from nvrar_bench.devices.cpu import CpuDevice

sys.path.append(str(Path(__file__).parents[1] / "devices" / "cuda"))  # the driver that is a fake


@pytest.fixture
def open_alone(alone) -> Callable[[], AllReduce]:
    """`open_alone()`: NVRAR on host memory, without MPI."""

    def make() -> AllReduce:
        device = CpuDevice(alone, 5.0)
        backend = NvrarBackend(alone, HostEngine(alone, device), 5.0)
        return AllReduce(backend, HostCaller(device), device.memory, "auto")

    return make


@pytest.fixture
def backend(open_alone):
    with open_alone() as backend:
        yield backend
