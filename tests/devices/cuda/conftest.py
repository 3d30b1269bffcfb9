"""A CUDA device on a driver that is a fake, in a world of one rank."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from fake_driver import FakeDriver

from nvrar_bench.devices.cuda.calls import Calls
from nvrar_bench.devices.cuda.device import CudaDevice, GpuPlacement
from nvrar_bench.devices.cuda.driver import describe
from nvrar_bench.toolchain import host


@pytest.fixture
def driver() -> FakeDriver:
    return FakeDriver()


@pytest.fixture
def open_device(alone, driver, kernel_cache) -> Callable[..., CudaDevice]:
    """`open_device(virtual_ranks=3, graph=4)`: a device on the fake driver."""

    def make(virtual_ranks: int = 1, timeout: float = 0.5, **options) -> CudaDevice:
        world = replace(alone, hosts=alone.hosts * virtual_ranks)
        calls = Calls(driver)
        placement = GpuPlacement(describe(calls, 0), (), 1)
        build = lambda kernel, arch: str(host.build(kernel)).encode()  # noqa: E731
        return CudaDevice(world, timeout, placement, calls=calls, build=build, **options)

    return make


@pytest.fixture
def device(open_device) -> CudaDevice:
    return open_device()
