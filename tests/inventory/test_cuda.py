"""Drivers, GPUs and wheels of machines that are not this one."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace

import pytest
from fake_driver import CUresult, FakeDriver

from nvrar_bench.devices.cuda import driver
from nvrar_bench.devices.cuda.calls import Calls
from nvrar_bench.errors import CompilerError, Problem, Unavailable
from nvrar_bench.inventory import cuda
from nvrar_bench.launch import initialize

THIRTEEN = {"cuda-bindings": "13.0.3"}
TWELVE = {"cuda-bindings": "12.9.1"}


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """`machine(fake, wheels)`: a machine with this driver, or none, and these wheels."""

    def make(fake: FakeDriver | None, wheels: dict[str, str] = THIRTEEN) -> None:
        def library(name: str) -> SimpleNamespace:
            if fake is None:
                raise OSError(f"{name}: cannot open shared object file")
            return SimpleNamespace(cuDriverGetVersion=ask)

        def ask(number) -> int:
            number._obj.value = fake.version
            return 0

        def load() -> Calls:
            if "cuda-bindings" not in wheels:
                raise Unavailable(Problem("cuda-python cannot be imported", "pip install it"))
            return Calls(fake)

        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.setattr(ctypes, "CDLL", library)
        monkeypatch.setattr(driver, "installed", lambda: wheels)
        monkeypatch.setattr(cuda, "load_calls", load)
        monkeypatch.setattr(cuda, "_MODELS", tmp_path)
        monkeypatch.setattr(driver, "_KERNEL_MODULE", tmp_path / "version")
        (tmp_path / "version").write_text("NVRM version: x86_64  580.65.06  Release\n")

    return make


def test_a_machine_without_a_driver(machine):
    machine(None)
    for found in (cuda._driver(), cuda._gpus()):
        assert found.status == "missing"
        assert found.problem.startswith("libcuda.so.1 is not found: install the NVIDIA driver")


def test_a_driver_and_its_gpus(machine):
    machine(FakeDriver(gpus=2, version=13010, memory=80 << 30))
    found = cuda._driver()
    assert (found.status, found.version, found.detail) == ("here", "CUDA 13.1", "580.65.06")
    first, second = cuda._gpus()
    assert (first.status, first.name, second.name) == ("here", "GPU 0", "GPU 1")
    assert first.version == "Fake GPU"
    assert first.detail == "sm_90, 80.0 GiB, GPU-00000000-0000-0000-0000-000000000000"


def test_a_driver_older_than_the_wheels(machine):
    machine(FakeDriver(version=12040))
    found = cuda._driver()
    assert (found.status, found.version) == ("wrong", "CUDA 12.4")
    assert found.problem.fix == "update the driver, or pip install 'nvrar-bench[cuda12]'"
    assert cuda._bindings().status == "here"


def test_wheels_older_than_the_driver_are_right(machine):
    machine(FakeDriver(version=13000), TWELVE)
    assert (cuda._driver().status, cuda._bindings().status) == ("here", "here")
    assert [gpu.status for gpu in cuda._gpus()] == ["here"]


@pytest.mark.parametrize(("version", "extra"), [(12080, "cuda12"), (13000, "cuda13")])
def test_wheels_to_install_are_those_of_the_driver(machine, version, extra):
    machine(FakeDriver(version=version), {})
    install = f"pip install 'nvrar-bench[{extra}]'"
    assert cuda._bindings().problem.fix == install
    assert cuda._suffixed("nvshmem4py-cu").problem.fix == install


def test_a_gpu_that_is_too_old_beside_one_that_is_not(machine):
    fake = FakeDriver(gpus=2)
    fake.capabilities[1] = (7, 5)
    machine(fake)
    young, old = cuda._gpus()
    assert (young.status, old.status) == ("here", "wrong")
    assert old.detail.startswith("sm_75, ")
    assert old.problem == (
        "GPU 1 is sm_75; sm_80 and newer are supported: leave it out of CUDA_VISIBLE_DEVICES"
    )


def test_gpus_that_are_hidden(machine, monkeypatch):
    machine(FakeDriver(gpus=0))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    found = cuda._gpus()
    assert (found.status, found.problem.fix) == ("missing", "unset it or name a GPU")
    assert cuda._visible().version == "(empty: none)"


def test_a_driver_that_does_not_start(machine):
    fake = FakeDriver()
    fake.fail["cuInit"] = CUresult.CUDA_ERROR_SYSTEM_DRIVER_MISMATCH
    machine(fake)
    assert "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH" in cuda._gpus().problem


def test_gpus_are_known_before_the_wheels_are_there(machine, tmp_path):
    machine(FakeDriver(), {})
    for number in "01":
        (tmp_path / number).mkdir()
        (tmp_path / number / "information").write_text("Model: \t NVIDIA H100\nIRQ: 1\n")
    found = cuda._gpus()
    assert (found.status, found.problem.fix) == ("missing", "pip install it")
    assert found.detail == "the kernel module knows NVIDIA H100, NVIDIA H100"


def test_bindings_of_another_cuda(machine):
    machine(FakeDriver(), {"cuda-bindings": "11.8.6"})
    found = cuda._bindings()
    assert (found.status, found.version) == ("wrong", "11.8.6")
    assert "is for CUDA 11; allowed: 12 and 13" in found.problem


@pytest.mark.parametrize(
    ("wheels", "status"),
    [
        ({**THIRTEEN, "nvshmem4py-cu13": "0.4.1"}, "here"),
        ({**THIRTEEN, "nvshmem4py-cu12": "0.4.1"}, "wrong"),
        ({**TWELVE, "nvshmem4py-cu13": "0.4.1"}, "wrong"),
        ({**TWELVE, "nvshmem4py-cu12": "0.4.1", "nvshmem4py-cu13": "0.4.1"}, "here"),
        ({"nvshmem4py-cu13": "0.4.1"}, "here"),
        (THIRTEEN, "missing"),
    ],
)
def test_wheels_of_two_cudas_do_not_fit(machine, wheels, status):
    machine(FakeDriver(), wheels)
    found = cuda._suffixed("nvshmem4py-cu")
    assert found.status == status
    assert (found.problem is None) == (status == "here")


def test_a_compiler_that_does_not_load(monkeypatch):
    def broken() -> str:
        raise CompilerError(Problem("cuda.bindings.nvrtc cannot be loaded (it)", "install it"))

    monkeypatch.setattr(cuda, "installed", lambda name: "13.0.3")
    assert cuda._compiler(broken).status == "wrong"
    monkeypatch.setattr(cuda, "installed", lambda name: None)
    assert cuda._compiler(broken).problem.startswith("cuda-python is not installed: pip install")


def test_a_library_without_its_bindings_is_not_loaded(machine, monkeypatch):
    machine(FakeDriver(), {**THIRTEEN, "nvidia-nccl-cu13": "2.30.1"})
    monkeypatch.setattr(cuda.importlib.util, "find_spec", lambda name: None)
    found = cuda._nccl()
    assert (found.status, found.version) == ("here", "nvidia-nccl-cu13 2.30.1")
    assert found.detail == "not loaded: nccl4py is missing"
    assert (cuda._nvshmem().status, cuda._nvshmem().detail) == ("missing", None)


def test_a_library_that_does_not_load_is_wrong(monkeypatch):
    monkeypatch.setattr(cuda.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(cuda.nccl_library, "library_problem", lambda: Problem("broken", "fix"))
    monkeypatch.setattr(cuda.heap, "missing", lambda: Problem("broken", "fix"))
    for found in (cuda._nccl(), cuda._nvshmem()):
        assert (found.status, found.problem) == ("wrong", "broken: fix")


def test_a_server_of_mps_in_fault_is_wrong_and_keeps_cuda_from_running(
    machine, monkeypatch, program, tmp_path
):
    fake = FakeDriver()
    machine(fake)
    monkeypatch.setattr(driver, "missing", lambda: None)
    monkeypatch.setattr(driver, "require", lambda: Calls(fake))
    monkeypatch.setattr(cuda, "_build_gate", lambda: None)
    monkeypatch.setattr(initialize, "load_mpi", lambda: None)
    monkeypatch.setenv("PATH", str(program("bin", "nvidia-cuda-mps-control", "exit 0")))
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path / "pipes"))
    assert (cuda._mps().status, cuda._mps().detail) == ("here", "not started")
    (tmp_path / "pipes").mkdir()
    assert (cuda._mps().status, cuda.able()) == ("here", None)
    fake.fail["cuDevicePrimaryCtxRetain"] = CUresult.CUDA_ERROR_LAUNCH_FAILED
    assert cuda._mps().status == "wrong"
    assert "nvidia-cuda-mps-control -d" in cuda._mps().problem.fix
    assert cuda.able() == cuda._mps().problem
