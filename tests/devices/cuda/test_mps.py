"""A server of MPS that a killed rank left in fault, on a driver that is a fake."""

from __future__ import annotations

import pytest
from fake_driver import CUresult, FakeDriver

from nvrar_bench.devices.cuda import driver as driver_module
from nvrar_bench.devices.cuda.calls import Calls, mps_problem


@pytest.fixture
def on(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))


@pytest.mark.parametrize("name", ["CUDA_ERROR_LAUNCH_FAILED", "CUDA_ERROR_MPS_RPC_FAILURE"])
def test_a_server_in_fault_is_told_with_the_commands_that_start_it_again(on, driver, name):
    driver.fail["cuDevicePrimaryCtxRetain"] = CUresult[name]
    problem = mps_problem(Calls(driver))
    assert "MPS server is in fault" in problem.what
    assert f"cuDevicePrimaryCtxRetain failed: {name}" in problem.what
    assert "echo quit | nvidia-cuda-mps-control; nvidia-cuda-mps-control -d" in problem.fix


def test_a_driver_that_does_not_start_for_it(on, driver):
    driver.fail["cuInit"] = CUresult.CUDA_ERROR_MPS_RPC_FAILURE
    assert "MPS server is in fault" in driver_module.missing_gpu(Calls(driver))
    driver.fail["cuInit"] = CUresult.CUDA_ERROR_SYSTEM_DRIVER_MISMATCH
    assert "does not start" in driver_module.missing_gpu(Calls(driver))


def test_a_server_that_works_keeps_no_context(on, driver):
    assert mps_problem(Calls(driver)) is None
    contexts = ("cuDevicePrimaryCtxRetain", "cuDevicePrimaryCtxRelease")
    assert driver.calls(*contexts) == list(contexts)


def test_other_errors_are_not_its_fault(on, driver):
    driver.fail["cuDevicePrimaryCtxRetain"] = CUresult.CUDA_ERROR_OUT_OF_MEMORY
    assert mps_problem(Calls(driver)) is None


def test_without_mps_nothing_is_asked(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path / "none"))
    fake = FakeDriver()
    fake.fail["cuDevicePrimaryCtxRetain"] = CUresult.CUDA_ERROR_LAUNCH_FAILED
    assert mps_problem(Calls(fake)) is None
    assert fake.log == []
