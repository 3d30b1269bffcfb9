"""Finding the wheels of one CUDA version, and refusing a mixture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nvrar_bench.errors import CompilerError
from nvrar_bench.toolchain import wheels

CUDA_12 = {
    "cuda-bindings": "12.9.1",
    "nvidia-cuda-nvrtc-cu12": "12.9.86",
    "nvidia-nvjitlink-cu12": "12.9.86",
    "nvidia-cuda-runtime-cu12": "12.9.79",
    "nvidia-cuda-nvcc-cu12": "12.9.86",
    "nvidia-cuda-cccl-cu12": "12.9.27",
}
CUDA_13 = {
    "cuda-bindings": "13.4.4",
    "nvidia-cuda-nvrtc": "13.5.37",
    "nvidia-nvjitlink": "13.5.37",
    "nvidia-cuda-runtime": "13.5.37",
    "nvidia-cuda-crt": "13.5.37",
    "nvidia-cuda-cccl": "13.3.5",
}
FILES_12 = (
    "cuda_runtime/include/cuda_fp16.h",
    "cuda_nvcc/include/crt/host_defines.h",
    "cuda_cccl/include/cuda/std/cstdint",
)
FILES_13 = (
    "cu13/include/cuda_fp16.h",
    "cu13/include/crt/host_defines.h",
    "cu13/include/cccl/cuda/std/cstdint",
)

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """`install(versions, files)`: these wheels are there, with these files, and no others."""

    def make(versions: dict[str, str], files: tuple[str, ...]) -> Path:
        for name in files:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        monkeypatch.setattr(wheels, "installed", versions.get)
        monkeypatch.setattr(wheels, "_package_roots", lambda: [tmp_path])
        wheels.include_dirs.cache_clear()
        return tmp_path

    yield make
    wheels.include_dirs.cache_clear()


def message(call: Callable[[], object]) -> str:
    with pytest.raises(CompilerError) as caught:
        call()
    return str(caught.value)


def test_the_layout_of_cuda_12(install):
    root = install(CUDA_12, FILES_12)
    found = wheels.find()
    assert found.release.major == 12
    assert found.include_dirs == tuple(
        root / name for name in ("cuda_runtime/include", "cuda_nvcc/include", "cuda_cccl/include")
    )
    assert found.versions == CUDA_12


def test_the_layout_of_cuda_13(install):
    root = install(CUDA_13, FILES_13)
    found = wheels.find()
    assert found.release.major == 13
    assert found.include_dirs == (root / "cu13/include", root / "cu13/include/cccl")


def test_cuda_12_beside_the_headers_that_the_cpu_kernels_need(install):
    root = install({**CUDA_13, **CUDA_12}, FILES_12 + FILES_13)
    assert all(root / "cu13" not in folder.parents for folder in wheels.find().include_dirs)


def test_the_identity_tells_versions_apart(install):
    install(CUDA_13, FILES_13)
    before = wheels.find().identity
    install({**CUDA_13, "nvidia-cuda-cccl": "13.4"}, FILES_13)
    assert wheels.find().identity != before


def test_nothing_is_installed(install):
    install({}, ())
    expected = "the CUDA compiler is not installed: pip install 'nvrar-bench[cuda13]'"
    assert message(wheels.find) == expected


def test_a_wheel_is_missing(install):
    install({k: v for k, v in CUDA_13.items() if k != "nvidia-cuda-nvrtc"}, FILES_13)
    assert message(wheels.find) == (
        "cuda-bindings 13.4.4 needs nvidia-cuda-nvrtc, not installed: "
        "pip install 'nvrar-bench[cuda13]'"
    )


def test_the_compiler_of_cuda_12_with_the_headers_of_cuda_13(install):
    compilers = ("cuda-bindings", "nvidia-cuda-nvrtc-cu12", "nvidia-nvjitlink-cu12")
    install({**CUDA_13, **{name: CUDA_12[name] for name in compilers}}, FILES_13)
    missing = ", ".join(name for name in CUDA_12 if name not in compilers)
    assert message(wheels.find) == (
        f"cuda-bindings 12.9.1 needs {missing}, not installed (installed is CUDA 13): "
        "pip install 'nvrar-bench[cuda12]'"
    )


def test_a_wheel_of_another_version(install):
    install({**CUDA_13, "nvidia-cuda-runtime": "14.0.1"}, FILES_13)
    assert message(wheels.find) == (
        "cuda-bindings 13.4.4 is of CUDA 13, nvidia-cuda-runtime 14.0.1 of CUDA 14: "
        "pip install 'nvrar-bench[cuda13]'"
    )


@pytest.mark.parametrize("number", ["11.8.7", "14.0", "unknown"])
def test_a_cuda_that_is_not_supported(install, number):
    install({**CUDA_13, "cuda-bindings": number}, FILES_13)
    assert f"cuda-bindings {number} is of CUDA" in message(wheels.find)
    assert "12 and 13 are supported" in message(wheels.find)


@pytest.mark.parametrize("lost", FILES_13)
def test_a_header_was_lost(install, lost):
    install(CUDA_13, tuple(name for name in FILES_13 if name != lost))
    assert "is not in the CUDA headers: pip install --force-reinstall " in message(wheels.find)


def test_nvshmem(install):
    library = "nvshmem/lib/libnvshmem_device.a"
    root = install({**CUDA_13, "nvidia-nvshmem-cu13": "3.8.0"}, (*FILES_13, library))
    found = wheels.find_nvshmem(wheels.find().release)
    assert found == wheels.Nvshmem("3.8.0", root / "nvshmem" / "include", root / library)


@pytest.mark.parametrize(
    ("versions", "files"),
    [(CUDA_13, FILES_13), ({**CUDA_13, "nvidia-nvshmem-cu13": "3.8.0"}, FILES_13)],
)
def test_no_nvshmem(install, versions, files):
    install(versions, files)
    assert message(lambda: wheels.find_nvshmem(wheels.find().release)) == (
        "nvidia-nvshmem-cu13 is not installed: pip install 'nvrar-bench[cuda13]'"
    )
