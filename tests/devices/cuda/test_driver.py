"""What is said when something that a GPU needs is missing."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_driver import ATTRIBUTES, CUresult, FakeDriver

from nvrar_bench.devices import cuda
from nvrar_bench.devices.cuda import calls, driver
from nvrar_bench.devices.cuda.calls import Calls
from nvrar_bench.errors import Unavailable

WHEELS = {"cuda-bindings": "13.0.3", "nvidia-nccl-cu13": "2.30.1", "nvshmem4py-cu13": "0.4.1"}


@pytest.fixture
def machine(monkeypatch):
    """`machine(fake, wheels)`: a machine with this driver, or none, and these wheels."""

    def make(fake: FakeDriver | None, wheels: dict[str, str] = WHEELS) -> None:
        def library(name: str) -> SimpleNamespace:
            if fake is None:
                raise OSError(f"{name}: cannot open shared object file")
            return SimpleNamespace(cuDriverGetVersion=ask)

        def ask(number: Any) -> int:
            number._obj.value = fake.version
            return 0

        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.setattr(driver, "installed", lambda: wheels)
        monkeypatch.setattr(driver.ctypes, "CDLL", library)
        monkeypatch.setattr(driver, "load_calls", lambda: Calls(fake))

    return make


def test_nothing_is_missing_and_no_context_was_made(machine):
    fake = FakeDriver()
    machine(fake)
    assert driver.missing() is None
    assert set(fake.log) == {
        "cuDriverGetVersion", "cuInit", "cuDeviceGetCount", "cuDeviceGet", "cuDeviceGetAttribute",
    }  # fmt: skip
    assert isinstance(driver.require(), Calls)


@pytest.mark.parametrize(
    ("wheels", "said"),
    [
        ({}, "cuda-python is not installed: pip install 'nvrar-bench[cuda13]'"),
        ({"cuda-bindings": "11.8.6"}, "cuda-python 11.8.6 is for CUDA 11; allowed: 12 and 13"),
        (
            {"cuda-bindings": "13.0.3", "nvidia-nccl-cu12": "2.28"},
            "cuda-python is for CUDA 13, but nvidia-nccl-cu12 is installed and nvidia-nccl-cu13 is "
            "not: pip install 'nvrar-bench[cuda13]'",
        ),
        (
            {"cuda-bindings": "12.9.1", "nvshmem4py-cu13": "0.4"},
            "but nvshmem4py-cu13 is installed and nvshmem4py-cu12 is not: "
            "pip install 'nvrar-bench[cuda12]'",
        ),
    ],
)
def test_a_wheel_is_named_with_the_command_that_installs_it(machine, wheels, said):
    machine(FakeDriver(), wheels)
    assert said in driver.missing()
    with pytest.raises(Unavailable, match=re.escape(said)):
        driver.require()


@pytest.mark.parametrize(
    "wheels",
    [
        WHEELS,
        {"cuda-bindings": "12.9.1"},
        {"cuda-bindings": "12.9.1", "nvidia-nccl-cu12": "1", "nvidia-nccl-cu13": "1"},
    ],
)
def test_wheels_of_one_major_are_right(wheels):
    assert driver.missing_wheel(wheels) is None


def test_no_driver(machine):
    machine(None)
    assert driver.missing().startswith("libcuda.so.1 is not found: install the NVIDIA driver")


def test_a_driver_older_than_the_wheels(machine):
    machine(FakeDriver(version=12040))
    assert driver.missing() == (
        "the NVIDIA driver supports CUDA up to 12.4, and the installed wheels are for CUDA 13: "
        "update the driver, or pip install 'nvrar-bench[cuda12]'"
    )
    assert driver.too_old(12040, 12) is None
    assert driver.too_old(13000, 12) is None


@pytest.mark.parametrize("error", ["CUDA_ERROR_NO_DEVICE", "CUDA_ERROR_INVALID_DEVICE", None])
def test_no_gpu_names_the_variable_that_hides_them(machine, monkeypatch, error):
    fake = FakeDriver(gpus=0)
    if error:
        fake.fail["cuInit"] = CUresult[error]
    machine(fake)
    assert driver.missing() == (
        "no CUDA device is visible: nvidia-smi -L shows what the driver sees"
    )
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert driver.missing() == (
        "no CUDA device is visible: CUDA_VISIBLE_DEVICES is ''; unset it or name a GPU"
    )


@pytest.mark.parametrize(
    ("version", "wheels", "extra"),
    [
        (13000, {}, "cuda13"),
        (12080, {}, "cuda12"),
        (11080, {}, "cuda13"),
        (13000, {"cuda-bindings": "12.9.1"}, "cuda12"),
        (12080, {"cuda-bindings": "13.0.3"}, "cuda13"),
    ],
)
def test_wheels_to_install_fit_the_bindings_or_else_the_driver(machine, version, wheels, extra):
    machine(FakeDriver(version=version), wheels)
    assert driver.install_command() == f"pip install 'nvrar-bench[{extra}]'"


def test_a_driver_too_old_for_any_wheels_is_to_be_updated(machine):
    machine(FakeDriver(version=11080))
    assert driver.missing().endswith("are for CUDA 13: update the driver")


def test_a_gpu_too_old_for_the_kernels_is_named(machine):
    fake = FakeDriver(gpus=2)
    fake.capabilities[1] = (7, 5)
    machine(fake)
    assert driver.missing() == (
        "GPU 1 is sm_75; sm_80 and newer are supported: leave it out of CUDA_VISIBLE_DEVICES"
    )


def test_a_driver_that_does_not_start_says_why(machine):
    fake = FakeDriver()
    fake.fail["cuInit"] = CUresult.CUDA_ERROR_SYSTEM_DRIVER_MISMATCH
    machine(fake)
    assert driver.missing() == (
        "the CUDA driver does not start: cuInit failed: CUDA_ERROR_SYSTEM_DRIVER_MISMATCH "
        "(what it means)"
    )


def test_bindings_that_do_not_load_are_no_traceback(machine, monkeypatch):
    def broken(name: str) -> None:
        raise ImportError("undefined symbol")

    machine(FakeDriver())
    monkeypatch.setattr(driver, "load_calls", calls.load_calls)
    monkeypatch.setattr(calls.importlib, "import_module", broken)
    assert driver.missing() == (
        "cuda-python cannot be imported (undefined symbol): pip install 'nvrar-bench[cuda13]'"
    )


def test_this_machine_is_asked_without_a_traceback():
    found = driver.missing()
    assert found is None or len(found) > 20


def test_a_gpu_is_described(monkeypatch, tmp_path):
    gpu = driver.describe(Calls(FakeDriver(gpus=3)), 2)
    assert gpu.name == "Fake GPU"
    assert gpu.uuid == "GPU-02020202-0202-0202-0202-020202020202"
    assert (gpu.ordinal, gpu.arch, gpu.sms, gpu.l2_bytes) == (2, "sm_90", 4, 8192)
    assert (gpu.clock_mhz, gpu.memory_clock_mhz) == (1980, None)
    version = tmp_path / "version"
    monkeypatch.setattr(driver, "_KERNEL_MODULE", version)
    assert driver.versions(Calls(FakeDriver()))["nvidia_driver"] is None
    version.write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\n"
        "GCC version:  gcc version 12.3.0\n"
    )
    assert driver.versions(Calls(FakeDriver()))["nvidia_driver"] == "580.65.06"
    assert driver.versions(Calls(FakeDriver(version=12090)))["cuda_driver"] == "12.9"


# ---- the installed library has what is called, with as many parameters


def _trees() -> Iterator[tuple[str, ast.AST]]:
    for path in sorted(Path(inspect.getfile(cuda)).parent.glob("*.py")):
        yield path.name, ast.parse(path.read_text())


def _installed_driver():
    return pytest.importorskip("cuda.bindings.driver")


def _is_function(name: str) -> bool:
    return re.match(r"cu[A-Z]", name) is not None


def test_the_installed_library_has_every_function_with_the_parameters_used():
    library = _installed_driver()
    checked = 0
    for file, tree in _trees():
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            name = node.func.attr
            if not _is_function(name):
                continue
            parameters = _parameters(getattr(library, name))
            given = sum(9 if isinstance(a, ast.Starred) else 1 for a in node.args)
            assert given == len(parameters), f"{file}:{node.lineno} {name}{parameters}"
            checked += 1
    assert checked > 35


def test_the_installed_library_has_every_constant():
    library = _installed_driver()
    found = set()
    for _, tree in _trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr.startswith("CU"):
                outer = node.value.attr if isinstance(node.value, ast.Attribute) else ""
                holder = getattr(library, outer) if outer.startswith("CU") else library
                assert hasattr(holder, node.attr), node.attr
                found.add(node.attr)
    assert "CU_STREAM_CAPTURE_MODE_RELAXED" in found
    for name in ATTRIBUTES:
        assert hasattr(library.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}")
    for code in CUresult:
        assert int(getattr(library.CUresult, code.name)) == code
    assert library.CUuuid().bytes == bytes(16)


def test_the_fake_knows_no_function_that_the_library_lacks():
    library = _installed_driver()
    for name in filter(_is_function, vars(FakeDriver)):
        assert callable(getattr(library, name))


def _parameters(function) -> list[str]:
    """Parameters by the first line of the documentation, which is the signature."""
    line = function.__doc__.splitlines()[0]
    inside = line[line.index("(") + 1 : line.rindex(")")]
    inside = re.sub(r"\[[^\[\]]*\]", "", re.sub(r"\[[^\[\]]*\]", "", inside))
    return [part.strip() for part in inside.split(",") if part.strip()]
